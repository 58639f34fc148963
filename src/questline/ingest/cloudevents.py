"""CloudEvents 1.0 (https://github.com/cloudevents/spec, v1.0.2): the JSON format, and the HTTP binding's binary mode.

`type`, `time` and `data` are the envelope's; `subject`, or the extension `userid`, is the user; `source` and `id` together
tell events apart, as the standard has it, unless the extension `idempotencykey` does. All extension attributes are kept
as the event's context, and so is `dataschema`.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import msgspec

from questline.ingest.envelope import Envelope, Invalid, Reading

_OWN = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data", "data_base64"}
)  # fmt: skip
_PREFIX = b"ce-"
_decode = msgspec.json.decode


def structured(body: bytes) -> Reading:
    """Read one event of the JSON format."""
    event = _decode(body, type=dict[str, Any])
    data, packed = event.get("data"), event.get("data_base64")
    if packed is not None:
        if data is not None:
            raise Invalid("data", "and data_base64 exclude each other")
        data = _unpacked(packed, event.get("datacontenttype"))
    return _reading(event, data)


def binary(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Reading:
    """Read one event of the binary mode: attributes as headers, data as the body."""
    event: dict[str, Any] = {}
    media = ""
    for name, value in headers:
        if name[:3] == _PREFIX:
            event[name[3:].decode("latin-1")] = _header_value(value)
        elif name == b"content-type":
            media = value.decode("latin-1")
    return _reading(event, _data(body, media) if body else None)


def _reading(event: dict[str, Any], data: Any) -> Reading:
    if event.get("specversion") != "1.0":
        raise Invalid("specversion", "must be 1.0")
    id_, source = (_required(event, name) for name in ("id", "source"))
    _required(event, "type")
    if " " in source:
        raise Invalid("source", "is no URI reference: it holds a space")
    payload: dict[str, Any] = {} if data is None else data if isinstance(data, dict) else {"data": data}
    context = {name: value for name, value in event.items() if name not in _OWN and value is not None}
    envelope = Envelope(
        type=event["type"],
        user_id=context.get("userid"),
        subject=event.get("subject"),
        entity_id=context.get("entityid"),
        payload=payload,
        occurred_at=event.get("time"),
        event_id=id_,
        idempotency_key=context.get("idempotencykey") or f"{source} {id_}",  # neither of the two can be mistaken
        source=source,
        schema_version=context.get("schemaversion"),
        partition_key=context.get("partitionkey"),
        correlation_id=context.get("correlationid"),
        context=context or None,
    )
    return Reading(envelope)


def _required(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not value:
        raise Invalid(name, "is missing: a CloudEvent has it, as text")
    return value


def _header_value(value: bytes) -> str:
    """Read a header's value: percent-encoded UTF-8, in quotes or not."""
    text = value.decode("utf-8", "replace").strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return unquote(text)


def _unpacked(packed: Any, media: Any) -> Any:
    try:
        data = base64.b64decode(packed, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise Invalid("data_base64", "is not Base64") from error
    return _data(data, media) if isinstance(media, str) and _is_json(media) else {"data_base64": packed}


def _data(body: bytes, media: str) -> Any:
    """Return data as JSON can hold it: JSON as it is, text as a text, all else as Base64."""
    if not media or _is_json(media):
        return _decode(body)
    kind = media.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind.endswith(("/xml", "+xml")):
        return body.decode()
    return {"data_base64": base64.b64encode(body).decode()}


def _is_json(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return kind.endswith(("/json", "+json"))
