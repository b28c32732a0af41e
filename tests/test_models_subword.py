"""Subwords are the same text whatever is left unjoined, and the same for a seed."""

from pathlib import Path

import pytest
from conftest import SENTENCES
from tokenizers import Tokenizer

from models.subword import SubwordDropout, train_subwords


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    path = tmp_path / "tokenizer.json"
    train_subwords(SENTENCES, vocab=320, languages=("en", "de", "fr"), path=path)
    return Tokenizer.from_file(str(path))


def test_with_no_join_left_out_the_pieces_are_the_tokenizers(tokenizer: Tokenizer) -> None:
    respell = SubwordDropout(tokenizer, 0.0)
    for sentence in SENTENCES:
        ids = tokenizer.encode(sentence).ids
        assert respell(ids, 1) == ids


def test_with_every_join_left_out_each_piece_is_a_byte(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Bücher").ids
    pieces = map(tokenizer.id_to_token, SubwordDropout(tokenizer, 1.0)(ids, 1))
    assert [len(piece) for piece in pieces] == [1] * len(" Bücher".encode())


def test_a_seed_spells_a_text_in_one_way_and_seeds_in_several(tokenizer: Tokenizer) -> None:
    respell, ids = SubwordDropout(tokenizer, 0.3), tokenizer.encode(SENTENCES[0]).ids
    ways = [respell(ids, seed) for seed in range(8)]
    assert ways == [respell(ids, seed) for seed in range(8)]
    assert len({tuple(way) for way in ways}) > 1
    assert {tokenizer.decode(way) for way in ways} == {tokenizer.decode(ids)}
