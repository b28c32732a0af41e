"""task models ↔ protobuf: the schema of the gRPC door, written from the tasks' own models.

`python -m service.pb` writes `attendant.proto` and the stubs beside it; `convert` turns the
messages into the models and back.
"""
