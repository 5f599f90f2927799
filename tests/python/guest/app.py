"""A processor in Python, built with componentize-py: the largest ordinary guest that the limits accept."""

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
