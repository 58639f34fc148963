"""The page at /docs: the OpenAPI document for people, whole in one answer. It asks nothing of any other host."""

import re
from html import escape
from typing import Any

import msgspec

Json = dict[str, Any]

SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: light-dark(#4338ca, #a5b4fc) }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 17rem minmax(0, 1fr) }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; border-right: 1px solid var(--line);
      box-sizing: border-box; font-size: 13px }
nav a { display: block; padding: .1rem 0; color: inherit; text-decoration: none; overflow-wrap: anywhere }
nav a:hover, nav a:focus { color: var(--accent); text-decoration: underline }
nav b { display: block; margin-top: .8rem }
main { padding: 1rem 2rem 6rem; max-width: 60rem }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: 0 .8rem; scroll-margin-top: .5rem }
details:target { border-color: var(--accent) }
summary { padding: .5rem 0; cursor: pointer; overflow-wrap: anywhere }
code, pre { font: 13px/1.5 ui-monospace, monospace }
pre { overflow: auto; background: var(--soft); padding: .6rem; border-radius: 6px }
.method { display: inline-block; min-width: 4em; font-weight: 700; text-transform: uppercase; color: var(--accent) }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line) }
.soft { opacity: .7 }
@media (max-width: 50rem) {
  body { display: block } nav { position: static; height: auto; border: 0 } main { padding: 1rem }
}
"""


def page(document: Json) -> str:
    """Return the page of an OpenAPI document."""
    info = document["info"]
    operations = [(path, method, op) for path, item in document["paths"].items() for method, op in item.items()]
    contents, chapters = "", ""
    for tag in document["tags"]:
        name, found = escape(tag["name"]), [o for o in operations if tag["name"] in o[2]["tags"]]
        contents += f"<b>{name}</b>" + "".join(_link(*o) for o in found)
        chapters += f"<h2 id='tag-{name}'>{name}</h2><p>{_prose(tag['description'])}</p>"
        chapters += "".join(_operation(*o, document) for o in found)
    title = f"{escape(info['title'])} API"
    introduction = "".join(f"<p>{_prose(part)}</p>" for part in info["description"].split("\n\n"))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style>"
        f"<nav aria-label=Operations><a href='#top'><strong>{title}</strong></a>"
        f"<a href='/openapi.json'>openapi.json</a>{contents}</nav>"
        f"<main id=top><h1>{title}</h1>{introduction}{chapters}</main></html>"
    )


def _link(path: str, method: str, op: Json) -> str:
    return f"<a href='#{op['operationId']}'><span class=method>{method}</span> {escape(path)}</a>"


def _operation(path: str, method: str, op: Json, document: Json) -> str:
    parts = [
        f"<details id='{op['operationId']}' open><summary><span class=method>{method}</span> <code>{escape(path)}</code> "
        f"<span class=soft>{_prose(op['summary'])}</span></summary>"
    ]
    if op.get("description"):
        parts.append(f"<p>{_prose(op['description'])}</p>")
    if op["parameters"]:
        rows = "".join(_parameter(parameter) for parameter in op["parameters"])
        parts.append(f"<table><tr><th>parameter<th>in<th>type<th>meaning</tr>{rows}</table>")
    for media, content in op.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body <code>{escape(media)}</code> {_named(content['schema'])}</h4>")
        if media == "application/json":
            parts.append(_example(content["schema"], document))
    parts += [_answer(status, answer, document) for status, answer in op["responses"].items() if status.startswith("2")]
    responses = document["components"]["responses"]
    problems = [f"{s} {escape(responses[s]['description'])}" for s in op["responses"] if not s.startswith("2")]
    if problems:
        parts.append(f"<p class=soft>Problems: {', '.join(problems)}.</p>")
    return "".join(parts) + "</details>"


def _answer(status: str, answer: Json, document: Json) -> str:
    content: Json = answer.get("content", {})
    schema: Json = next(iter(content.values()))["schema"] if content else {}
    title = f"<h4>{status} {escape(answer['description'])} {_named(schema)}</h4>"
    return title + (_example(schema, document) if "application/json" in content else "")


def _parameter(parameter: Json) -> str:
    schema = parameter["schema"]
    types: str | list[Any] = schema.get("type") or schema.get("enum") or [_type_of(schema)]
    shown = " | ".join([types] if isinstance(types, str) else [str(t) for t in types])
    required = " <b>required</b>" if parameter.get("required") else ""
    return (
        f"<tr><td><code>{escape(parameter['name'])}</code>{required}<td>{parameter['in']}<td>{escape(shown)}"
        f"<td>{_prose(parameter.get('description', ''))}</tr>"
    )


def _type_of(schema: Json) -> str:
    options: list[Json] = schema.get("anyOf") or [schema]
    return " | ".join(name for option in options if (name := _name_of(option) or option.get("type", "")))


def _name_of(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _named(schema: Json) -> str:
    name = _name_of(schema)
    return f"<code class=soft>{escape(name)}</code>" if name else ""


def _example(schema: Json, document: Json) -> str:
    examples = document["components"]["schemas"].get(_name_of(schema), {}).get("examples", [])
    if not examples:
        return ""
    text = msgspec.json.format(msgspec.json.encode(examples[0]), indent=2).decode()
    return f"<pre>{escape(text)}</pre>"


def _prose(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
