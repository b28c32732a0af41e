"""manifest → MODEL_CARD.md: where a model is from, on what terms, and what was measured."""

from service.manifest import FineTuned, Imported, Manifest

NAME = "MODEL_CARD.md"


def imported(found: Imported) -> str:
    """Lines on the checkpoint that a model was made from."""
    agreed = ", ".join(f"{what} {share:.2g}" for what, share in found.agreement.items())
    lines = [
        f"| imported from | {found.source}, revision {found.revision} |",
        f"| family | {found.family} |",
        f"| largest differences from its library, as shares of the largest value | {agreed} |",
        *(f"| {what} | {count} |" for what, count in found.counts.items()),
        *(f"| sha256 of {name} | {digest} |" for name, digest in found.files.items()),
    ]
    return "\n".join(lines) + "\n"


def fine_tuned(found: FineTuned) -> str:
    """Lines on the model that training went on from."""
    items = ", ".join(f"{name} {count}" for name, count in found.items.items())
    lines = [
        f"| trained from | {found.base or 'random weights'} |",
        f"| trained on | {found.data} ({items}), sha256 {found.data_sha256} |",
    ]
    return "\n".join(lines) + "\n"


def card(manifest: Manifest) -> str:
    """The card as Markdown."""
    graphs = manifest.parity.graphs.items()
    ops = "; ".join(
        f"{name}: " + ", ".join(f"{count} {op}" for op, count in parity.attention_ops.items())
        for name, parity in graphs
    )
    worst = max(parity.largest_difference for _, parity in graphs)
    rounded = ", ".join(
        f"{name} {parity.float16.largest_share:.2g} of the largest value, run on "
        f"{parity.float16.provider}"
        for name, parity in graphs
        if parity.float16
    )
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in manifest.metrics.items())
    config = ", ".join(f"{name} {value}" for name, value in manifest.config.items())
    recipe = ", ".join(f"{name} {value}" for name, value in manifest.recipe.items())
    quality = ", ".join(
        f"{group} {found.reached} ({found.reference} before)"
        for group, found in manifest.quality.items()
    )
    text = f"""# {manifest.name}

| | |
|---|---|
| version | {manifest.version} |
| architecture | {manifest.architecture} ({config}) |
| data | {manifest.data.source} |
| licence of the data or weights | {manifest.data.licence} |
| recipe | {recipe} |
| commit | {manifest.revision} |
| metrics on the dev split | {metrics or "not trained here"} |
| target | {manifest.target}: {ops} |
| quality in another precision | {quality or "as trained"} |
| parity with torch | largest difference {worst:.2g}, tolerance {manifest.parity.tolerance:g} |
"""
    if manifest.imported:
        text += imported(manifest.imported)
    if manifest.fine_tuned:
        text += fine_tuned(manifest.fine_tuned)
    return text + (f"| parity in float16 | {rounded} |\n" if rounded else "")
