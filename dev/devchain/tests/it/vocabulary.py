"""Prints the vocabulary that the Python SDK was generated with from the public chain's metadata, as JSON."""

import inspect
import json

from bittensor._generated import calls, errors, runtime_apis, storage


def classes(module):
    return [found for found in vars(module).values() if inspect.isclass(found) and found.__module__ == module.__name__]


def items(module, kind):
    return {
        pallet.__name__: {
            name: getattr(value, "value_type_ident", "")
            for name, value in vars(pallet).items()
            if isinstance(value, kind)
        }
        for pallet in classes(module)
    }


def arguments(call):
    parameters = inspect.signature(call.__func__).parameters.values()
    return [[each.name, each.annotation if isinstance(each.annotation, str) else "Any"] for each in parameters]


print(
    json.dumps(
        {
            "storage": items(storage, storage.Item),
            "methods": items(runtime_apis, runtime_apis.Method),
            "calls": {
                pallet.__name__: {
                    name: arguments(call) for name, call in vars(pallet).items() if isinstance(call, staticmethod)
                }
                for pallet in classes(calls)
            },
            "errors": sorted({f"{each.pallet}.{each.name}" for each in errors.ERRORS.values()}),
        }
    )
)
