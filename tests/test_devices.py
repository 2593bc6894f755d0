"""The shipped devices' figures against data/devices.json: dense figures with the places that quote the vendors."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from costmodel.device import VECTOR, Device, shipped_device
from costmodel.dtypes import DTYPE_NAMES
from costmodel.figures import as_figure
from costmodel.library import shipped

TABLE: dict[str, dict[str, Any]] = {
    row["name"]: row
    for row in json.loads(Path(__file__).with_name("data").joinpath("devices.json").read_text(), parse_float=Fraction)
}
NAMES = sorted(shipped("devices"))
# a figure that no vendor prints has no place in a device's file; 2:4 sparsity doubles these
SPARSE = ("tf32", "bf16", "fp16", "fp8", "int8", "int4", "fp4")


def dense(name: str) -> dict[str, Any]:
    row = TABLE.get(name.removesuffix("-sparse"))
    assert row is not None, f"tests/data/devices.json has no row for {name}: add it, with its sources"
    return row


def peaks(device: Device) -> dict[str, Fraction]:
    return {kind: as_figure(peak) / 10**12 for kind, peak in device.peaks.items()}


@pytest.mark.parametrize("name", NAMES)
def test_figures(name: str) -> None:
    row, device = dense(name), shipped_device(name)
    assert as_figure(device.memory) == row["memory_GB"] * 10**9
    assert as_figure(device.bandwidth) == row["bandwidth_GB/s"] * 10**9
    times = {kind: 2 if device.sparse and kind in SPARSE else 1 for kind in row["peaks_TFLOP/s"]}
    known = {k: Fraction(v) * times[k] for k, v in row["peaks_TFLOP/s"].items() if k in (*DTYPE_NAMES, VECTOR)}
    assert peaks(device) == known


@pytest.mark.parametrize("name", NAMES)
def test_peaks_are_dense_unless_the_name_says_sparse(name: str) -> None:
    device = shipped_device(name)
    assert device.sparse == name.endswith("-sparse") == ("sparse" in device.title)
    assert ("sparsity" if device.sparse else "dense") in Path(shipped("devices")[name]).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_every_device_says_where_it_is_from(name: str) -> None:
    device = shipped_device(name)
    assert device.source
    assert len(device.source) > 20
    assert dense(name)["sources"]
    assert f"{dense(name)['memory_GB']} GB" in device.title


@pytest.mark.parametrize(
    ("name", "ridge"),
    [
        # FLOPs a byte at bf16, the peak over the bandwidth, as the field quotes them
        ("a100-80gb", "153.0"),
        ("h100-sxm", "295.4"),
        ("h100-nvl", "214.2"),
        ("h100-nvl-sparse", "428.5"),
        ("h200-sxm", "206.1"),
        ("mi300x", "246.7"),
        ("tpu-v5e", "240.5"),
    ],
)
def test_ridge(name: str, ridge: str) -> None:
    device = shipped_device(name)
    assert f"{float(as_figure(device.peak('bf16') / device.bandwidth)):.1f}" == ridge


def test_an_article_s_two_peaks_are_two_devices() -> None:
    """A data sheet's 1,671 TFLOP/s are with sparsity, and 835.5 without."""
    assert peaks(shipped_device("h100-nvl-sparse"))["bf16"] == 1671
    assert peaks(shipped_device("h100-nvl"))["bf16"] == Fraction("835.5")
