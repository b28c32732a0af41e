"""image-classification: pixels and logits beside those of the library, picture by picture."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from export.agreement import Agreement, difference
from service.tasks.image_classification import Request, load_assets, preprocess

SIZES = ((512, 512), (640, 427), (333, 500), (224, 224), (61, 80))
"""Width and height: square, wide, tall, as models want it, and smaller than that."""


def pictures() -> list[Image.Image]:
    """A picture of each size, with edges, gradients and noise."""
    rng = np.random.default_rng(0)
    made = []
    for width, height in SIZES:
        x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
        waves = np.stack([np.sin(9 * x) ** 2, np.cos(5 * y) ** 2, (x + y) % 0.3 > 0.1], axis=-1)
        noisy = 200 * waves + rng.integers(0, 56, (height, width, 3))
        made.append(Image.fromarray(noisy.astype(np.uint8)))
    return made


def _file(picture: Image.Image) -> bytes:
    content = BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


def compare(folder: Path, model: Any, assets: Path) -> Agreement:
    """The library's processor and class, both as the folder names them."""
    import transformers
    from transformers import AutoConfig, AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    name = AutoConfig.from_pretrained(folder).architectures[0]
    theirs = getattr(transformers, name).from_pretrained(folder).eval()
    ours = load_assets(assets)
    found = {"pixels": 0.0, "logits": 0.0}
    rows = []
    for picture in pictures():
        (item,) = preprocess(Request(image=_file(picture)), ours)
        wanted = processor(picture, return_tensors="np")["pixel_values"][0]
        found["pixels"] = max(found["pixels"], difference("pixels", item["pixels"], wanted))
        rows.append(torch.from_numpy(wanted))
    batches = [torch.stack(rows[:count]) for count in (1, len(rows))]
    with torch.inference_mode():
        logits = [theirs(pixel_values=batch).logits for batch in batches]
        del theirs
        for batch, wanted in zip(batches, logits, strict=True):
            found["logits"] = max(found["logits"], difference("logits", model(batch), wanted))
    return Agreement(found)
