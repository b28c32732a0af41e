"""An import holds little more than one copy of a model at any time."""

import json
import subprocess
import sys
from pathlib import Path

import checkpoints
import pytest
import torch

MOST_COPIES = 1.6
"""Of the checkpoint, beyond what an import takes whose weights weigh nothing. That is 0.7 GB, so
that of the shape of OPUS-MT, 296 MB, a whole import takes less than four times as much."""
WATCHED = """
import json, re, sys
from pathlib import Path
from transformers import AutoTokenizer, MarianMTModel
from export.imported import import_model

def memory_kib(which):
    return int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

small, large = map(Path, sys.argv[1:])
import_model(str(small), name="small", out=small.parent / "small-out")
before = memory_kib("VmRSS")
import_model(str(large), name="large", out=large.parent / "large-out")
print(json.dumps(memory_kib("VmHWM") - before))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_an_import_takes_a_few_times_the_memory_of_its_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 256, "encoder_ffn_dim": 16_384, "decoder_ffn_dim": 16_384}
    small = checkpoints.marian(tmp_path / "small")
    large = checkpoints.marian(tmp_path / "large", **sizes)
    size_bytes = (large / "model.safetensors").stat().st_size
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCHED, str(small), str(large)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    taken_bytes = 1024 * json.loads(done.stdout.splitlines()[-1])
    assert taken_bytes < MOST_COPIES * size_bytes
