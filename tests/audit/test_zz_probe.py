import uuid, json
import pytest
from datetime import datetime
from django.db import connection, transaction
from audit.actors import system, Actor
from audit.models import *
from audit import services
from audit.services import *
from audit.log import tree
from audit.log.canonical import canonical_bytes
from audit.log.entry import Entry, payload_hash, time_text
from audit.api import filtered
from tests.audit.test_services import some, sql, without_triggers, ORG, OTHER, TABLE
pytestmark = pytest.mark.django_db

def test_a_salt_size():
    some(3)
    with without_triggers(): sql(f"UPDATE {TABLE} SET salt=%s WHERE seq=1", b"x")
    print(verify_org(ORG))

def test_b_impossible_date():
    some(3)
    row = AuditEntry.objects.get(seq=2)
    d = json.loads(bytes(row.entry)); d["ts"]="2026-13-45T99:99:99.000000Z"
    with without_triggers(): sql(f"UPDATE {TABLE} SET entry=%s WHERE seq=2", canonical_bytes(d))
    print(verify_org(ORG))

@pytest.mark.parametrize("col", ["ts","org_id","seq","entry","version_before","payload"])
def test_c_garbage_columns(col):
    if connection.vendor != "sqlite": pytest.skip()
    some(3)
    with without_triggers(): sql(f"UPDATE {TABLE} SET {col}=%s WHERE seq=1", "garbage")
    print(verify_org(ORG))

def test_d_concurrent(monkeypatch):
    some(3)
    orig = AuditEntryQuerySet.iterator
    def it(self, **k):
        some(1)
        return orig(self, **k)
    monkeypatch.setattr(AuditEntryQuerySet, "iterator", it)
    print(verify_org(ORG)); assert verify_org(ORG).ok

def test_e_swapped_orgs():
    some(2); some(2, OTHER)
    tmp = uuid.uuid4()
    with without_triggers():
        for t in (TABLE, "audit_audithead"):
            for a,b in ((ORG,tmp),(OTHER,ORG),(tmp,OTHER)):
                if connection.vendor=="sqlite": a,b=a.hex,b.hex
                sql(f"UPDATE {t} SET org_id=%s WHERE org_id=%s", b, a)
    v = verify_org(ORG); print(v); assert not v.ok

def rec(**k):
    f = dict(by=system("t"), action="x.y", target=("x","y")); f.update(k)
    record(ORG, **f)

@pytest.mark.parametrize("k", [dict(action="x"*60), dict(target=("x","y"*101)), dict(target=("x","a\0b")), dict(by=Actor("user","7"*101)), dict(version_before=-1), dict(payload={"at": datetime(2026,1,1)}), dict(payload={1:"a","1":"b"})], ids=str)
def test_f_refusals(k):
    with pytest.raises(EntryRefused), transaction.atomic(): rec(**k)

def test_g_head_left():
    with transaction.atomic():
        with pytest.raises(EntryRefused): rec(action="x"*20000)
    assert not AuditHead.objects.exists()

def test_h_deep():
    v = 0
    for _ in range(5000): v=[v]
    with pytest.raises(EntryRefused), transaction.atomic(): rec(payload={"a": v})

@pytest.mark.parametrize("g", [{"action":"a\0"}, {"since":"0001-01-01T00:00:00+14:00"}, {"until":"9999-12-31T23:59:59-14:00"}, {"actor":"\0"},{"target_id":"\0"}], ids=str)
def test_i_filters(g):
    from rest_framework.exceptions import ValidationError
    with pytest.raises(ValidationError): list(filtered(AuditEntry.objects.of(ORG), g))

def test_j_missing_org(): 
    print(verify_org(uuid.uuid4()))
def test_k_year():
    from datetime import UTC
    assert time_text(datetime(99,1,1,tzinfo=UTC)) == "0099-01-01T00:00:00.000000Z"
def test_l_rights():
    some(4)
    with without_triggers():
        sql("UPDATE audit_audithead SET right_edge=%s", b"x"*31)
    print(verify_org(ORG))
    with pytest.raises(AuditError), transaction.atomic(): rec()
def test_m_truncated_consistently():
    some(4)
    from django.db import models
    with without_triggers():
        sql(f"DELETE FROM {TABLE}"); sql("DELETE FROM audit_audithead")
    print(verify_org(ORG))
