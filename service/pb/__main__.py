"""service/tasks/ → attendant.proto and its stubs: run after a task's fields change."""

from service.pb.compile import PROTO, descriptor, write_stubs
from service.pb.proto import numbers, proto
from service.tasks import tasks

if __name__ == "__main__":
    known = numbers(descriptor(PROTO.read_text())) if PROTO.exists() else {}
    PROTO.write_text(proto(tasks(), known))
    write_stubs()
