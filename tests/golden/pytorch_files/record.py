"""Record small files written by torch.save, and their numbers, for tests/models/formats.

Usage: python record.py, beside this file's folder of results, with `pip install torch numpy`.

`zip.pth`, `legacy.pth`   tensors of every type, views, shared numbers, parameters, a buffer of no elements
`new_types.pth`           types that have no storage class of their own
`checkpoint.pth.tar`      a training checkpoint: the state of the model in a dictionary beside the optimiser's
`protocol4.pth`           written with a newer pickle protocol
`big_endian.pth`          zip.pth with its numbers' bytes in the other order; torch.load reads the same from it
`module.pth`, `legacy_module.pth`   whole modules, which are refused
`expected.npz`            the numbers of all, as float64 (or complex128, int64, uint64), by file and name
"""

import collections
import pathlib
import zipfile

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parent


def every_kind():
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32)
    state = collections.OrderedDict()
    for name in "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8".split():
        state[name] = torch.arange(4).to(getattr(torch, name))
    state["bool"] = torch.tensor([True, False, True])
    state["complex64"] = torch.tensor([1 + 2j, -3j], dtype=torch.complex64)
    state["complex128"] = torch.tensor([0.5 + 2j], dtype=torch.complex128)
    state["whole"] = base
    state["part"] = base[4:10]
    state["grid"] = base.view(4, 6)
    state["transposed"] = base.view(4, 6).t()
    state["every_other"] = base.view(4, 6)[1::2, 1::2]
    state["expanded"] = torch.tensor([7.0, 8.0]).expand(3, 2)
    state["channels_last"] = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    state["parameter"] = torch.nn.Parameter(torch.randn(3, 2))
    state["scalar"] = torch.tensor(42, dtype=torch.int64)
    state["nothing"] = torch.zeros(0, 3)
    state["bfloat16_matrix"] = torch.randn(3, 4).to(torch.bfloat16).t()
    return state


def new_types():
    state = {name: torch.arange(5).to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")}
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"):
        state[name] = torch.tensor([-1.5, 0.25, 3.0]).to(getattr(torch, name))
    return state


def checkpoint():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "arch": "tiny",
        "best": torch.tensor(71.5),
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def swap_bytes(source, target):
    """A copy whose numbers are big-endian, as a big-endian machine writes them."""
    widths = {}
    state = torch.load(source)
    for tensor in state.values():
        part = tensor.element_size() // (2 if tensor.is_complex() else 1)
        widths[bytes(tensor.untyped_storage().tolist())] = part
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in info.filename and data:
                data = np.frombuffer(data, f"u{widths[data]}").byteswap().tobytes()
            new.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), data)


def numbers(tensor):
    tensor = tensor.detach()
    if tensor.is_complex():
        return tensor.to(torch.complex128).numpy()
    if tensor.is_floating_point():
        return tensor.to(torch.float64).numpy()
    return tensor.numpy().astype(np.uint64 if tensor.dtype == torch.uint64 else np.int64)


def main():
    torch.save(every_kind(), FOLDER / "zip.pth")
    torch.save(every_kind(), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(new_types(), FOLDER / "new_types.pth")
    torch.save(checkpoint(), FOLDER / "checkpoint.pth.tar")
    torch.save(every_kind(), FOLDER / "protocol4.pth", pickle_protocol=4)
    swap_bytes(FOLDER / "zip.pth", FOLDER / "big_endian.pth")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module.pth")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "legacy_module.pth", _use_new_zipfile_serialization=False)
    expected = {}
    for name in ("zip.pth", "legacy.pth", "new_types.pth", "checkpoint.pth.tar", "protocol4.pth", "big_endian.pth"):
        state = torch.load(FOLDER / name, weights_only=False)
        for key, tensor in state.get("state_dict", state).items():
            expected[f"{name}|{key}"] = numbers(tensor)
    for key in every_kind():
        np.testing.assert_array_equal(expected[f"big_endian.pth|{key}"], expected[f"zip.pth|{key}"])
    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
