"""Signed notes and checkpoints: as others write them, and refused where they are none."""

import json
import re
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.log.notes import (
    BadKey,
    BadNote,
    Checkpoint,
    SigningKey,
    VerifyKey,
    is_signed,
    open_checkpoint,
    open_note,
    sign,
)
from tests.paths import shared

#: c2sp.org/signed-note, the example of "Verifier keys".
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
#: golang.org/x/mod/sumdb/note, the example of its documentation.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    f"{GO_TEXT}\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ONE, TWO = SigningKey("routing.example/audit", b"1" * 32), SigningKey("routing.example/audit", b"2" * 32)
STATE = Checkpoint("routing.example/audit/installation", 20_852_163, bytes(range(32)))


def rule_of(note: str, *keys: VerifyKey) -> str:
    with pytest.raises(BadNote) as caught:
        open_note(note, keys)
    return caught.value.rule


# --- As others write them ---------------------------------------------------------------------------------------------


def test_the_published_notes_open_and_the_same_key_signs_the_same_note() -> None:
    assert open_note(SPEC_NOTE, [VerifyKey.parse(SPEC_KEY)])[0] == "This is an example message.\n"
    assert str(VerifyKey.parse(SPEC_KEY)) == SPEC_KEY
    key = SigningKey.parse(GO_SECRET)
    assert (str(key.verify_key), key.secret_text()) == (GO_KEY, GO_SECRET)
    assert sign(GO_TEXT, [key]) == GO_NOTE
    assert open_note(GO_NOTE, [VerifyKey.parse(GO_KEY)]) == (GO_TEXT, [key.verify_key])


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
            "d25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "r",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
            "387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ],
)
def test_the_signatures_are_those_of_rfc_8032(seed: str, public: str, message: str, signature: str) -> None:
    """7.1, tests 1 and 2."""
    key = SigningKey("a", bytes.fromhex(seed))
    assert key.verify_key.public.hex() == public
    assert key.sign(message).hex() == signature


def test_the_cases_of_wycheproof() -> None:
    """Of 151 signatures those that are valid are taken, as that of a note over bytes that are text or not."""
    cases = json.loads(shared("vectors/wycheproof/ed25519_test.json").read_text(encoding="utf-8"))
    told, wanted = [], []
    for group in cases["testGroups"]:
        public = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            told.append(is_signed(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])))
            wanted.append(case["result"] == "valid")
    assert told == wanted
    assert (len(told), told.count(True)) == (151, 88)


def test_openssl_verifies_a_checkpoint(tmp_path: Path) -> None:
    note = sign(STATE.text(), [ONE])
    text, _, line = note.rpartition("\n\n")
    (tmp_path / "text").write_text(text + "\n", encoding="utf-8")
    (tmp_path / "signature").write_bytes(b64decode(line.split(" ")[2])[4:])
    # The fixed beginning of an Ed25519 public key in DER (RFC 8410).
    (tmp_path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + ONE.verify_key.public)
    command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key -in text -sigfile signature".split()
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout.strip()) == (0, "Signature Verified Successfully")
    (tmp_path / "text").write_text(text.replace("20852163", "20852164") + "\n", encoding="utf-8")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1


# --- Who signed -------------------------------------------------------------------------------------------------------


def test_signatures_of_others_are_ignored_and_one_of_a_known_key_is_enough() -> None:
    """So a key is replaced: for a time both sign, and whoever knows one of them is content."""
    both = sign(STATE.text(), [ONE, TWO])
    for known in (ONE, TWO):
        assert open_note(both, [known.verify_key]) == (STATE.text(), [known.verify_key])
    assert open_note(both, [TWO.verify_key, ONE.verify_key])[1] == [ONE.verify_key, TWO.verify_key]
    assert open_checkpoint(both, [TWO.verify_key]) == STATE
    other = SigningKey("other.example", b"1" * 32)
    assert rule_of(both, other.verify_key) == "unknown_key"
    assert rule_of(both) == "unknown_key"


def test_a_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    of_one, of_two = (sign(STATE.text(), [key]).rpartition("\n\n")[2] for key in (ONE, TWO))
    wrong = sign(STATE.text().replace("3", "4", 1), [ONE]).rpartition("\n\n")[2]
    assert rule_of(f"{STATE.text()}\n{wrong}", ONE.verify_key) == "bad_signature"
    assert rule_of(f"{STATE.text()}\n{of_two}{wrong}", ONE.verify_key, TWO.verify_key) == "bad_signature"
    assert open_note(f"{STATE.text()}\n{of_two}{wrong}", [TWO.verify_key])[1] == [TWO.verify_key]
    # Of a key that signs twice the first signature counts, and the key once, as in Go's sumdb/note.
    assert open_note(f"{STATE.text()}\n{of_one}{wrong}{of_one}", [ONE.verify_key])[1] == [ONE.verify_key]
    # The id of one key before the signature of another.
    name, signature = of_two.split(" ")[1:]
    mixed = b64encode(ONE.verify_key.key_id + b64decode(signature)[4:]).decode()
    assert rule_of(f"{STATE.text()}\n— {name} {mixed}\n", ONE.verify_key, TWO.verify_key) == "bad_signature"
    assert of_one != of_two


def test_any_changed_byte_of_a_note_is_refused_or_signs_the_same() -> None:
    note = sign(STATE.text(), [ONE]).encode()
    for place in range(len(note)):
        for flip in (1, 0x20, 0x80):
            changed = bytes([*note[:place], note[place] ^ flip, *note[place + 1 :]]).decode(errors="surrogateescape")
            assert rule_of(changed, ONE.verify_key) in {"malformed", "bad_signature", "unknown_key"}, (place, flip)


# --- What is no note --------------------------------------------------------------------------------------------------

LINE = sign("text\n", [ONE]).partition("\n\n")[2]
NAME, SIGNATURE = LINE.strip().split(" ")[1:]


@pytest.mark.parametrize(
    "note",
    [
        "", "\n", "text\n", f"text\n{LINE}", f"text\n\n{LINE}\n", f"text\n\n{LINE.strip()}", "text\n\n",
        f"text\r\n\r\n{LINE}", f"te\0xt\n\n{LINE}", f"te\txt\n\n{LINE}", f"te\ud800xt\n\n{LINE}",
        f"text\n\n-{LINE[1:]}", f"text\n\n—{NAME} {SIGNATURE}\n", f"text\n\n— {NAME}\n", f"text\n\n— {NAME} \n",
        f"text\n\n—  {SIGNATURE}\n", f"text\n\n— a+b {SIGNATURE}\n", f"text\n\n— a\u00a0b {SIGNATURE}\n",
        f"text\n\n— {NAME} {SIGNATURE} \n", f"text\n\n— {NAME} {SIGNATURE[:-1]}\n", f"text\n\n— {NAME} {SIGNATURE}=\n",
        f"text\n\n— {NAME} AAAA\n", f"text\n\n— {NAME} AAAAAA==\n", f"text\n\n— {NAME} {SIGNATURE.replace('/', '_')}%\n",
        f"text\n\n{LINE}more\n", f"text\n\n{17 * LINE}", f"{70_000 * 'x'}\n\n{LINE}",
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(note: str) -> None:
    assert rule_of(note, ONE.verify_key) == "malformed"


def test_the_last_empty_line_ends_the_text() -> None:
    text = "one\n\ntwo\n\n"
    assert open_note(sign(text, [ONE]), [ONE.verify_key])[0] == text


def test_sixteen_signatures_are_taken() -> None:
    others = [SigningKey(f"other.example/{n}", bytes([n]) * 32) for n in range(15)]
    assert open_note(sign("text\n", [*others, ONE]), [ONE.verify_key])[1] == [ONE.verify_key]


@pytest.mark.parametrize("text", ["", "no end", "a\rb\n", "\0\n", "\ud800\n"])
def test_no_other_text_is_signed(text: str) -> None:
    with pytest.raises(ValueError, match="text of a note"):
        sign(text, [ONE])


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n")))
def test_whatever_text_is_signed_is_opened(text: str) -> None:
    assert open_note(sign(text + "\n", [ONE]), [ONE.verify_key]) == (text + "\n", [ONE.verify_key])


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_part_of_a_key_is_none_and_neither_is_one_that_was_changed() -> None:
    for parse, text in ((VerifyKey.parse, SPEC_KEY), (SigningKey.parse, GO_SECRET)):
        for wrong in [text[:end] for end in range(len(text))] + [text[start:] for start in range(1, len(text))]:
            with pytest.raises(BadKey):
                parse(wrong)
        for place in range(len(text)):
            with pytest.raises(BadKey):
                parse(text[:place] + chr(ord(text[place]) + 1) + text[place + 1 :])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b", "a\u200bb", "a\0"])
def test_a_name_that_no_key_has_is_refused(name: str) -> None:
    with pytest.raises(BadKey, match="name of a key"):
        SigningKey.make(name)


def test_a_secret_is_in_no_message() -> None:
    key = SigningKey.make("routing.example/audit")
    secret = key.secret_text()
    assert key == SigningKey.parse(secret)
    assert str(key.seed) not in repr(key)
    for wrong in (secret[:-4], secret.replace("PRIVATE", "SECRET"), secret.replace("routing", "another")):
        with pytest.raises(BadKey) as caught:
            SigningKey.parse(wrong)
        assert not re.search(re.escape(secret[-30:-6]), str(caught.value))


# --- Checkpoints ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_three_lines() -> None:
    """The example of c2sp.org/tlog-checkpoint."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = Checkpoint.parse(text)
    assert (found.origin, found.size, found.text()) == ("example.com/behind-the-sofa", 20_852_163, text)
    assert Checkpoint.parse(STATE.text()) == STATE
    assert Checkpoint.parse(STATE.text() + "an extension\n") == STATE


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("20852163", "020852163"), ("20852163", "-1"), ("20852163", "+1"), ("20852163", "1e3"), ("20852163", "٣"),
        ("20852163", ""), ("20852163", "9" * 20), ("20852163", " 1"), ("=", ""), ("=", "=="), ("AAEC", "AAE"),
        ("AAEC", ""), ("AAEC", "!AEC"), ("routing.example/audit/installation", ""), ("=\n", "="), ("=\n", "=\n\nmore\n"),
        ("20852163\n", ""),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(was: str, becomes: str) -> None:
    text = STATE.text()
    assert was in text
    with pytest.raises(BadNote) as caught:
        Checkpoint.parse(text.replace(was, becomes, 1))
    assert caught.value.rule == "malformed"
