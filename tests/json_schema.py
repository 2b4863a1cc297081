"""JSON schemas as tests use them."""


def closed_to_new_fields(schema):
    """The schema refusing fields that it does not describe, so that a new field cannot be forgotten in the documentation."""
    if isinstance(schema, dict):
        inner = {key: closed_to_new_fields(value) for key, value in schema.items()}
        return {**inner, "additionalProperties": False} if "properties" in inner else inner
    return [closed_to_new_fields(one) for one in schema] if isinstance(schema, list) else schema
