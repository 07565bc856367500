"""CTR-GCN's .npz files and pyskl's pickles, hostile ones among them."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest

from ski_edge.data import ctrgcn_npz, pyskl
from ski_edge.errors import BadInput

RNG = np.random.default_rng(0)


def ctrgcn_arrays(classes=60, copies=False):
    def part(count):
        clips = np.zeros((count, 300, 150), np.float32)
        for number, clip in enumerate(clips):
            clip[: 20 + number, :75] = RNG.normal(size=(20 + number, 75))
            if number % 2 or copies:
                clip[: 20 + number, 75:] = clip[: 20 + number, :75] if copies else RNG.normal(size=(20 + number, 75))
        return clips, np.eye(classes)[RNG.integers(0, classes, count)]

    (x_train, y_train), (x_test, y_test) = part(5), part(3)
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_ctrgcn_files(tmp_path, save):
    path, arrays = tmp_path / "NTU60_CS.npz", ctrgcn_arrays()
    save(path, **arrays)
    samples = list(ctrgcn_npz.read_ctrgcn(path))
    assert ctrgcn_npz.num_classes(path) == 60
    assert [sample.split for sample in samples] == ["train"] * 5 + ["test"] * 3
    assert [sample.label for sample in samples[:5]] == arrays["y_train"].argmax(1).tolist()
    assert [len(sample.joints) for sample in samples] == [20, 21, 22, 23, 24, 20, 21, 22]
    assert np.array_equal(samples[3].joints.reshape(23, 150), arrays["x_train"][3, :23])
    assert not any(sample.copied for sample in samples)


def test_ctrgcn_files_of_120_classes_repeat_the_body(tmp_path):
    path, arrays = tmp_path / "NTU120_CSub.npz", ctrgcn_arrays(120, copies=True)
    names = np.array([f"S001C001P001R001A{action:03d}".encode() for action in range(1, 6)])
    np.savez(path, **arrays, files_train=names, files_test=names[:3])
    samples = list(ctrgcn_npz.read_ctrgcn(path))
    assert all(sample.copied for sample in samples)
    assert not any(sample.joints[:, 1].any() for sample in samples)
    assert samples[4].name == "S001C001P001R001A005"


def test_ctrgcn_files_that_are_wrong(tmp_path):
    path, good = tmp_path / "x.npz", ctrgcn_arrays()
    for change, says in (
        ({"x_train": good["x_train"][..., :149]}, r"expected floats \[n, frames, 150\]"),
        ({"y_train": good["y_train"][:4]}, r"y_train is float64 \[4, 60\]"),
        ({"y_train": good["y_train"] * 0.5}, "not one-hot"),
        ({"y_train": good["y_train"] * 0}, "not one-hot"),
        ({"y_test": np.eye(120)[:3]}, "different numbers of classes"),
        ({"x_test": good["x_test"] * np.nan}, r"x_test\[0\] holds a joint that is not finite"),
        ({"files_test": np.array(["a"])}, "files_test"),
    ):
        np.savez(path, **{**good, **change})
        with pytest.raises(BadInput, match=says):
            list(ctrgcn_npz.read_ctrgcn(path))
    np.savez(path, x_train=good["x_train"], y_train=good["y_train"])
    with pytest.raises(BadInput, match="lacks x_test"):
        list(ctrgcn_npz.read_ctrgcn(path))


def test_an_npz_header_that_claims_too_much_allocates_nothing(tmp_path):
    path = tmp_path / "x.npz"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 300, 150), }".ljust(117) + b"\n"
    labels = b"{'descr': '|b1', 'fortran_order': False, 'shape': (1000000, 60), }".ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (("x_train", header), ("y_train", labels), ("x_test", header), ("y_test", labels)):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x76\x00" + text + b"\0" * 600)
    with pytest.raises(BadInput, match=r"ends after row|not one-hot"):
        list(ctrgcn_npz.read_ctrgcn(path))


def pyskl_content(bodies=2, joints=25, axes=3):
    def clip(number):
        keypoint = RNG.uniform(10, 90, (bodies, 12 + number, joints, axes)).astype(np.float16)
        name = f"S001C001P{number + 1:03d}R001A{number + 1:03d}"
        return {"frame_dir": name, "label": number, "total_frames": 12 + number, "keypoint": keypoint}

    annotations = [clip(number) for number in range(4)]
    names = [annotation["frame_dir"] for annotation in annotations]
    return {
        "split": {"xsub_train": names[:3], "xsub_val": names[3:], "xview_train": names[1:]},
        "annotations": annotations,
    }


@pytest.mark.parametrize("protocol", range(6))
def test_pyskl_files_of_every_protocol(tmp_path, protocol):
    path, content = tmp_path / "ntu60_3d.pkl", pyskl_content()
    content["annotations"][0]["label"] = np.int64(0)
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    clips = list(pyskl.read_pyskl(path))
    assert [clip.label for clip in clips] == [0, 1, 2, 3]
    assert [clip.split for clip in clips] == [
        *("xsub:train", "xsub:train xview:train", "xsub:train xview:train", "xsub:val xview:train")
    ]
    assert clips[2].joints.shape == (14, 2, 25, 3)
    assert np.array_equal(
        clips[2].joints, content["annotations"][2]["keypoint"].transpose(1, 0, 2, 3).astype(np.float32)
    )


def test_pyskl_arrays_in_other_orders(tmp_path):
    path, content = tmp_path / "x.pkl", pyskl_content()
    keypoint = content["annotations"][0]["keypoint"].astype(">f4")
    content["annotations"][0]["keypoint"] = np.asfortranarray(keypoint)
    path.write_bytes(pickle.dumps(content))
    assert np.array_equal(next(pyskl.read_pyskl(path)).joints, keypoint.transpose(1, 0, 2, 3).astype(np.float32))


def test_pyskl_keypoints_in_pixels(tmp_path):
    path = tmp_path / "hrnet.pkl"
    path.write_bytes(pickle.dumps(pyskl_content(1, 17, 2)))
    clip = next(pyskl.read_pyskl(path))
    assert clip.joints.shape == (12, 1, 17, 3)
    assert not clip.joints[..., 2].any()


class Evil:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def test_pickles_that_name_anything_else_are_refused_before_it_is_called(tmp_path):
    path, seen = tmp_path / "x.pkl", tmp_path / "seen"
    for call, arguments, name in (
        (os.mkdir, (str(seen),), "posix.mkdir"),
        (eval, ("1",), "builtins.eval|__builtin__.eval"),
        (getattr, ("text", "join"), "getattr"),
        (np.lib.format.open_memmap, (str(seen), "w+", "u1", (9,)), "open_memmap"),
        (np.zeros, (10**12,), "zeros"),
    ):
        for protocol in (0, 2, 4):
            path.write_bytes(pickle.dumps({"split": {}, "annotations": [Evil(call, *arguments)]}, protocol=protocol))
            with pytest.raises(BadInput, match=f"is refused: it names .*({name})"):
                pyskl.load(path)
    assert not seen.exists()


def test_pickles_that_claim_too_much_or_use_arrays_oddly(tmp_path):
    path = tmp_path / "x.pkl"
    word = b"cnumpy._core.multiarray\n_reconstruct\n"
    for data in (
        word + b"(cnumpy\nndarray\n(L1000000000000L\ntc_codecs\nencode\n(V\ntRtR.",  # a shape other than (0,)
        b"cnumpy\nndarray\n(L1000000000000L\ntR.",  # the class itself is called
        b"\x80\x02" + word + b"}(X\x01\x00\x00\x00aK\x01ub.",  # a function is given attributes
        b"\x80\x04r\xff\xff\xff\x7f.",  # a memo of 2^31 places
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\x00\x00\x00.",  # 2^40 bytes of text
        b"cnumpy\ndtype\n(VO8\ntR.",  # objects
        b"cnumpy\ndtype\n(Vf4\ntR}b.",  # a state of another kind
        b"\x80\x04}K\x01" + b"\x85" * 300_000 + b"K\x01s.",  # a key that cannot be hashed without a crash
        b"\x80\x04}(K\x01" + b"\x85" * 300_000 + b"K\x01u.",
        b"\x80\x04(K\x01" + b"\x85" * 300_000 + b"K\x01d.",
        b"\x80\x04\x8f(K\x01" + b"\x85" * 300_000 + b"\x90.",
        pickle.dumps(np.array([{}], object)),
        pickle.dumps(np.zeros(3, "datetime64[s]")),
        pickle.dumps({1, 2}) + b"",
        b"",
        b"hello",
    ):
        path.write_bytes(data)
        with pytest.raises(BadInput, match=r"is refused|is not a readable pickle|is no pyskl file"):
            list(pyskl.read_pyskl(path))


def test_pyskl_content_that_is_wrong(tmp_path):
    path = tmp_path / "x.pkl"
    for change, says in (
        (lambda c: c.pop("split"), "has no `split`"),
        (lambda c: c.update(annotations={}), "`annotations` must be a list"),
        (lambda c: c["split"].update(xset_train="abc"), "must be a list of clip names"),
        (lambda c: c["split"].update({"bad name!": []}), "must be a list of clip names"),
        (lambda c: c["split"].update(xset_train=[[]]), "it holds list"),
        (lambda c: c["annotations"][1].pop("label"), "annotation 1 lacks frame_dir, label or keypoint"),
        (lambda c: c["annotations"][1].update(label=-1), "label a number, got .* and -1"),
        (lambda c: c["annotations"][1].update(keypoint=np.zeros((2, 5, 33, 3))), r"got \[2, 5, 33, 3\]"),
        (lambda c: c["annotations"][1].update(keypoint=[1]), "got list"),
        (lambda c: c["annotations"][1].update(keypoint=np.zeros((99, 5, 25, 3))), "99 bodies"),
        (lambda c: c["annotations"][1].update(keypoint=np.full((1, 5, 25, 3), np.inf)), "inf m"),
    ):
        content = pyskl_content()
        change(content)
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(BadInput, match=says):
            list(pyskl.read_pyskl(path))
