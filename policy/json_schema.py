"""
The language as JSON Schema, for editors: it completes keys and marks what cannot be right.

It is made of the models that check a policy and says less than they do: what depends on several
values, or on the form of a name, is for `codecage policy check` to say.

Source: JSON Schema 2020-12.
"""

import json

from policy.schema import PolicySection


def json_schema() -> str:
    """
    The schema, one JSON object.
    """
    schema = PolicySection.model_json_schema(mode="validation")
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy of Codecage, version 1",
    }
    return json.dumps({**schema, **described}, indent=2, sort_keys=True, ensure_ascii=True)
