"""Signed notes and checkpoints as C2SP has them (c2sp.org/signed-note, c2sp.org/tlog-checkpoint), with Ed25519.

A note is text and signatures of it. A checkpoint is a note whose text is three lines: origin, size, root of a log. Keys are
written as Go's `sumdb/note` writes them: `name+id+base64` to verify, `PRIVATE+KEY+name+id+base64` to sign.
"""

import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.log.tree import HASH_SIZE

MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 16
_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


class BadNote(ValueError):
    """This is no note that can be trusted; `rule` says why: `malformed`, `bad_signature` of a known key, or `unknown_key`
    where no known one signed it."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class BadKey(ValueError):
    """This text is no key."""


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A name and the 32 bytes of an Ed25519 public key."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifyKey":
        """The key of its text. Raises `BadKey`."""
        name, key_id, public = _key_parts(text)
        key = cls(name, public)
        if key.key_id != key_id:
            raise BadKey("The id of the key is not that of its name and bytes; part of it was changed.")
        return key


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A name and the 32 secret bytes of an Ed25519 key (its seed, RFC 8032)."""

    name: str
    seed: bytes

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, …)"

    @property
    def verify_key(self) -> VerifyKey:
        return VerifyKey(self.name, self._key().public_key().public_bytes_raw())

    def sign(self, text: str) -> bytes:
        return self._key().sign(text.encode())

    def secret_text(self) -> str:
        """The key as it is kept in a file."""
        return f"{_PRIVATE}{self.name}+{self.verify_key.key_id.hex()}+{_base64(_ED25519 + self.seed)}"

    @classmethod
    def parse(cls, text: str) -> "SigningKey":
        """The key of its text. Raises `BadKey`, without a word of the text."""
        if not text.startswith(_PRIVATE):
            raise BadKey(f"A key to sign with begins with {_PRIVATE}.")
        name, key_id, seed = _key_parts(text.removeprefix(_PRIVATE))
        key = cls(name, seed)
        if key.verify_key.key_id != key_id:
            raise BadKey("The id of the key is not that of its name and bytes; part of it was changed.")
        return key

    @classmethod
    def make(cls, name: str) -> "SigningKey":
        """A new key. Raises `BadKey` for a name that no key has."""
        if not is_key_name(name):
            raise BadKey("The name of a key is text without spaces, control characters and plus signs.")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)


def is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() or unicodedata.category(c)[0] in "CZ" for c in name)


def _key_parts(text: str) -> tuple[str, bytes, bytes]:
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    key = _from_base64(encoded)
    if not is_key_name(name) or not _ID.fullmatch(key_id) or key is None:
        raise BadKey("A key is written as name+id+key, the id as 8 hex digits, the key in base64.")
    if len(key) != 33 or key[:1] != _ED25519:
        raise BadKey("The key is not one of Ed25519.")
    return name, bytes.fromhex(key_id), key[1:]


# --- Notes ------------------------------------------------------------------------------------------------------------


def sign(text: str, keys: Sequence[SigningKey]) -> str:
    """The note of this text, signed with each key. Raises `ValueError` for what no note may hold."""
    if not _is_text(text) or not text.endswith("\n"):
        raise ValueError("The text of a note ends with a newline and has no other control characters.")
    lines = (f"— {key.name} {_base64(key.verify_key.key_id + key.sign(text))}\n" for key in keys)
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, keys: Sequence[VerifyKey]) -> tuple[str, list[VerifyKey]]:
    """The text of a note, and which of these keys signed it. Raises `BadNote`; signatures of other keys are ignored."""
    if len(note.encode("utf-8", "surrogatepass")) > MAX_NOTE_BYTES or not _is_text(note):
        raise BadNote("malformed", "A note is text without control characters, of a bounded size.")
    text, blank, signatures = note.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or lines.pop() != "" or not 0 < len(lines) <= MAX_SIGNATURES:
        raise BadNote("malformed", f"After the last empty line a note has 1 to {MAX_SIGNATURES} lines of signatures.")
    text += "\n"
    known = {(key.name, key.key_id): key for key in keys}
    signed: list[VerifyKey] = []
    for line in lines:
        name, signature = _signature(line)
        key = known.get((name, signature[:4]))
        if key is None or key in signed:
            continue
        if not is_signed(key.public, text.encode(), signature[4:]):
            raise BadNote("bad_signature", f"The signature of {name} is not one of this text.")
        signed.append(key)
    if not signed:
        raise BadNote("unknown_key", "No known key signed this note.")
    return text, signed


def is_signed(public: bytes, data: bytes, signature: bytes) -> bool:
    """Whether this is the Ed25519 signature (RFC 8032) of the data by the key with these 32 public bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _signature(line: str) -> tuple[str, bytes]:
    start, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    signature = _from_base64(encoded)
    if start != "—" or not is_key_name(name) or signature is None or len(signature) < 5:
        raise BadNote("malformed", "A signature is a line of a dash, a name, and base64 of at least five bytes.")
    return name, signature


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return not any(character < " " and character != "\n" for character in text)


# --- Checkpoints ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was: its origin, how many entries it had, the root of its tree (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The three lines."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The checkpoint of the text of a note; lines beyond the third are opaque. Raises `BadNote`."""
        origin, *lines = text.removesuffix("\n").split("\n")
        root = _from_base64(lines[1]) if len(lines) > 1 else None
        if not text.endswith("\n") or not origin or "" in lines or root is None or len(root) != HASH_SIZE:
            raise BadNote("malformed", "A checkpoint has at least three lines: origin, size, and root in base64.")
        if not _SIZE.fullmatch(lines[0]):
            raise BadNote("malformed", "The size of a checkpoint is a decimal number.")
        return cls(origin, int(lines[0]), root)


def unverified(note: str) -> Checkpoint:
    """The checkpoint that a note says, whoever signed it. Raises `BadNote`."""
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n")


def open_checkpoint(note: str, keys: Sequence[VerifyKey]) -> Checkpoint:
    """The checkpoint of a note that one of these keys signed. Raises `BadNote`."""
    return Checkpoint.parse(open_note(note, keys)[0])


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes | None:
    """None for anything but the one way to write some bytes."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        return None
    return data if _base64(data) == text else None
