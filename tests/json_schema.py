"""JSON schemas as tests use them."""

from jsonschema import Draft202012Validator


def conforms(values, schema):
    """Raises where the values are not what the schema says, or have a field that it does not describe.

    Whether the schema is one is a test of its own: that takes longer than everything else here.
    """
    Draft202012Validator(closed_to_new_fields(schema)).validate(values)


def closed_to_new_fields(schema):
    """The schema refusing fields that it does not describe, so that a new field cannot be forgotten in the documentation."""
    if isinstance(schema, dict):
        inner = {key: closed_to_new_fields(value) for key, value in schema.items()}
        return {**inner, "additionalProperties": False} if "properties" in inner else inner
    return [closed_to_new_fields(one) for one in schema] if isinstance(schema, list) else schema
