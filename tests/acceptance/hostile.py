"""Inputs that were made to break a parser, by what they pretend to be."""

import gzip
import json
import zlib

_EVENT = b'{"type":"t","userId":"u","payload":{}}'


def _event(**members: object) -> bytes:
    return json.dumps({"type": "t", "userId": "u", **members}).encode()


ANYTHING = [
    b"", b" ", b"\n" * 5_000, b"\0", b"\0" * 5_000, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8\x88\x80\x80\x80",
    bytes(range(256)) * 40, b"A" * 200_000, b"null", b"true", b"0", b'""', b"[]", b"{}", b"[[]]", b"[{}]", b"[null,1,true]",
]  # fmt: skip
JSON = [
    b"[" * 100_000, b'{"a":' * 50_000, b"[" * 500 + b"]" * 500, b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 20_000 + b"]" * 20_000,
    b'{"type":"t","userId":"u","payload":' + b'{"a":' * 40 + b"1" + b"}" * 41, b"NaN", b"Infinity", b"-", b"1e", b"01", b"1e400", b"-1e400",
    b"9" * 5_000, b'{"a":' + b"9" * 5_000 + b"}", b'{"a":1,"a":2}', b"{'a':1}", b'{"a":1,}', b'{"a":1', b'{"a" 1}', b'{"\\u0000":1}', b'"\\ud800"',
    b'{"type":"\\ud800","userId":"u"}', b'{"__proto__":{"a":1}}', b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}",
    b'{"' + b"k" * 200_000 + b'":1}', b"[" + b",".join([_EVENT] * 1_001) + b"]", b"[" + b",".join([b"1"] * 900) + b"]",
    b'{"events":' + b"[" * 200 + b"]" * 200 + b"}", b'{"events":{}}', b'{"batch":[[],{},null,1,"a"]}', b"/*c*/{}", b"{}{}", b"{}\n{}\n[",
    _event(payload={"n": 10**400}), _event(payload={"n": 1e308}), _event(payload=[]), _event(payload="x" * 100_000), _event(userId="\0"),
    _event(userId=""), _event(userId="u" * 100_000), _event(userId=1), _event(userId={"a": 1}), _event(type="$spend"), _event(type="$" * 300),
    _event(type=["t"]), _event(occurredAt="9999-12-31T23:59:59-14:00"), _event(occurredAt="0000-00-00"), _event(occurredAt="0001-01-01T00:00:00+14:00"),
    _event(occurredAt=1e308), _event(occurredAt=-1e308), _event(occurredAt=10**30), _event(occurredAt="2016-12-31T23:59:60Z"),
    _event(occurredAt="now"), _event(eventId="x" * 5_000), _event(eventId={"$gt": ""}), _event(idempotencyKey="a\r\nSet-Cookie: b"),
    _event(correlationId="a\r\nb: c"), _event(source="'; DROP TABLE events; --"), _event(schemaVersion=1e300), _event(partitionKey="\ud83d"),
    _event(payload={"a": {"$ref": "#/payload/a"}}), _event(payload={"": "", "a.b.c": 1, "constructor": 1}), _event(sentAt="x", timestamp="y"),
    _event(userId="u", amount=2**64, currency="coins"), _event(currency="coins", amount=0.1), _event(amount=-1), _event(quantity=2**63),
]  # fmt: skip
_LAUGHS = b"".join(b"%c: &%c [%s]\n" % (97 + n, 97 + n, b",".join([b"*%c" % (96 + n)] * 9)) for n in range(1, 9))
YAML = [
    b"a: &a [x]\n" + _LAUGHS, b"&a [*a]", b"a: &a {b: *a}", b"!!python/object/apply:os.system ['id']", b"!!python/name:os.system", b"!!binary x",
    b"a: !!set {b}", b"<<: {a: 1}", b"<<: [1]", b"a: *b", b"? [a]\n: b", b"{" * 5_000, b"- " * 20_000, b"a:\n" * 20_000, b"\t- a", b"%YAML 9.9\n---\na",
    b"---\n" * 5_000, b"a: 1_000_000e999", b"a: 0x" + b"f" * 20_000, b"a: " + b"9" * 10_000, b"a: 2001-99-99", b"a: 1:60:60:60:60", b"rules: &r\n  a: *r",
    b"rules: {a: {on: x, when: {field: a, op: matches, value: '" + b"(a+)+" * 90 + b"$'}}}", b"currencies: {" + b"a" * 100_000 + b": {kind: xp}}",
    b"rules: {a: {on: x, award: {c: 1e999}}}", b"timezone: ../../../etc/passwd", b"a: \xff", b"a: '\\", b"a: |\n" + b" x\n" * 20_000,
]  # fmt: skip
_ENTITIES = b"".join(b'<!ENTITY l%d "%s">' % (n, b"&l%d;" % (n - 1) * 10) for n in range(1, 10))
XML = [
    b"<a/>", b"<a>", b"</a>", b"<a><event/></a>", b"<a><event type='t' userId='u'/></a>", b"<a><event><type>t</type><userId>u</userId>",
    b'<!DOCTYPE a [<!ENTITY l0 "x">' + _ENTITIES + b"]><a><event type='t' userId='&l9;'/></a>", b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><event type="t" userId="u">&e;</event></a>',
    b'<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1:1/x">%e;]><a/>', b"<a>" * 50_000, b"<a><event>" + b"<b>" * 5_000, b"<a " + b"b='c' " * 5_000 + b"/>",
    b"<a b='1' b='2'/>", b"<a>" + b"<event type='t' userId='u'/>" * 500 + b"</a>", b"<a><event type='" + b"t" * 300_000 + b"'/></a>", b"<a>&#0;</a>",
    b"<a>&#xD800;</a>", b"<a>&undefined;</a>", b"<a><![CDATA[" + b"x" * 300_000, b"<a><!--" + b"-" * 50_000, b"<?xml version='1.0' encoding='utf-7'?><a/>",
    b"<?xml version='1.0' encoding='utf-16'?><a/>", b"<?xml version='9.9'?><a/>", b"<?" + b"p" * 100_000, b"<a xmlns:x='y'><x:event x:type='t'/></a>",
    b"<a><event xmlns='urn:x'><payload><event/></payload></event></a>", b"<\xff/>", b"<a>\x01</a>", "<ä><événement/></ä>".encode("latin-1"),
]  # fmt: skip
_PACKED = gzip.compress(_EVENT)
GZIP = [
    b"", b"\x1f\x8b", _PACKED[:-1], _PACKED[:10], _PACKED[:-8] + b"\0" * 8, _PACKED + b"garbage", _PACKED * 3, _PACKED + b"\0" * 5_000,
    gzip.compress(_PACKED), gzip.compress(b"\0" * 50_000_000), gzip.compress(b"[" * 30_000_000), gzip.compress(b"\n" * 30_000_000),
    gzip.compress(gzip.compress(b"a" * 100_000_000)), gzip.compress(b"") * 20_000, zlib.compress(_EVENT), _EVENT, b"\x1f\x8b\x08\xff" + b"\0" * 200,
]  # fmt: skip
HEADERS = [
    {"Prefer": "wait=99999999999999999999"}, {"Prefer": "wait=-1"}, {"Prefer": "wait=\u00b2".encode()}, {"Idempotency-Key": "k" * 30_000}, {"Idempotency-Key": b"\xff\xfe"},
    {"X-Correlation-Id": b"\xff\x01\x7f".replace(b"\x01", b"")}, {"X-Correlation-Id": "c" * 30_000}, {"Content-Type": "application/json; charset=utf-99"},
    {"Content-Type": "a" * 20_000}, {"Content-Type": ";;;"}, {"Content-Type": "multipart/form-data"}, {"Content-Encoding": "gzip, gzip"},
    {"Content-Encoding": "br"}, {"Content-Encoding": "deflate"}, {"If-Match": "9" * 10_000}, {"If-Match": '"' * 3}, {"X-Tenant-Id": "x" * 20_000},
    {"X-Tenant-Id": b"\xff"}, {"ce-specversion": "1.0"}, {"ce-specversion": "1.0", "ce-type": "t", "ce-id": "i", "ce-source": "%ZZ", "ce-subject": "u"},
    {"ce-specversion": "9.9", "ce-type": b"\xff", "ce-id": "", "ce-source": ""}, {"ce-specversion": "1.0", "ce-type": "t", "ce-time": "x" * 9_000},
    {"Authorization": "Basic " + "A" * 20_000}, {"Authorization": "Basic ===="}, {"Authorization": "Bearer " + "e" * 20_000}, {"Authorization": b"Bearer \xff"},
    {"X-Forwarded-For": "," * 9_000}, {"Origin": b"http://\xff"}, {"Accept": "*/*;q=" + "9" * 9_000}, {"X-API-Key": "sk_live_" + "0" * 30_000},
    {"x-signature": "0" * 9_000, "x-signature-timestamp": "9" * 5_000, "x-signature-nonce": ""}, {"x-signature-timestamp": "\u0663".encode()},
]  # fmt: skip
