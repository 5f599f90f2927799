"""A processor in Python, made a component by componentize-py: the largest honest guest that the limits must let pass."""

import hashlib
import json

import wit_world
from componentize_py_types import Err
from wit_world.imports import call
from wit_world.imports.types import Failure, Response


class WitWorld(wit_world.WitWorld):
    def initialize(self, model):
        print(f"ready with {model.config!r}")

    def process(self, request):
        if not request.body:
            raise Err(Failure(422, "there is nothing to hash"))
        answer = {"sha256": hashlib.sha256(request.body).hexdigest(), "request_id": call.request_id()}
        return Response(200, "application/json", [], json.dumps(answer).encode())
