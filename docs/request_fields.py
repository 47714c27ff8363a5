"""Writes cloister-request(5): the text of a template, and the fields as the
field table of lib/request has them, through the JSON Schema made of it.

request_fields.py TEMPLATE CLOISTER-SCHEMA > cloister-request.5.scd
"""

import json
import subprocess
import sys


def escaped(text):
    return "".join("\\" + c if c in "\\*_" else c for c in text)


def is_bytes(schema):
    """A string, or {"base64": ...} in its place."""
    return any("base64" in one.get("properties", {}) for one in schema.get("oneOf", []))


def kind(schema):
    """The values that a schema takes, in a few words."""
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        words = [json.dumps(word) for word in schema["enum"]]
        return ", ".join(words) if len(words) <= 8 else "one of " + ", ".join(words[:4]) + ", ..."
    if is_bytes(schema):
        return "a string"
    if "oneOf" in schema:
        kinds = []
        for one in schema["oneOf"]:
            if "x-unsupported" not in one and kind(one) not in kinds:
                kinds.append(kind(one))
        return ", or ".join(kinds)
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return number(schema)
        case "number":
            return "a number"
        case "string":
            return "a string"
        case "array":
            return "an array of " + kind(schema["items"]) if "items" in schema else "an array"
        case "object" if "properties" in schema:
            return "{" + ", ".join(schema["properties"]) + "}"
        case "object":
            return "an object"
    return "a value"


def number(schema):
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < 1 << 32:
        return f"a whole number, {low} to {high}"
    return "a whole number" if low is None or low < 0 else f"a whole number from {low}"


def paragraph(name, schema):
    lines = [f"*{escaped(name)}*: {escaped(kind(schema))}"]
    text = schema.get("description", "")
    if "default" in schema:
        text += ("; " if text else "") + "default: " + json.dumps(schema["default"])
    if "x-unsupported" in schema:
        text += ("; " if text else "") + "not yet: " + schema["x-unsupported"]
    lines.append("\t" + escaped(text or "see the schema"))
    return "\n".join(lines) + "\n"


def members(name, schema):
    """The members of an object field, or of the elements of an array field."""
    inner = schema.get("items", schema)
    for member, inside in inner.get("properties", {}).items():
        yield paragraph(f"{name}.{member}", inside)


def main():
    template_path, schema_program = sys.argv[1:]
    schema = json.loads(subprocess.run([schema_program], check=True, stdout=subprocess.PIPE).stdout)
    paragraphs = []
    for name, field in schema["properties"].items():
        paragraphs.append(paragraph(name, field))
        paragraphs.extend(members(name, field))
    with open(template_path, encoding="utf-8") as template:
        sys.stdout.write(template.read().replace("@FIELDS@\n", "\n".join(paragraphs) + "\n"))


main()
