"""The shipped devices' figures against data/devices.json: dense figures with the places that quote the vendors."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from costmodel.compile import compile_spec
from costmodel.conditions import Setting, evaluate
from costmodel.device import VECTOR, Device, find_device, shipped_device
from costmodel.dtypes import DTYPE_NAMES
from costmodel.figures import as_figure
from costmodel.library import shipped
from costmodel.parser import parse_condition
from costmodel.source import Source, SpecError

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
    stated = {
        "link_GB/s": device.link and as_figure(device.link) / 10**9,
        "tdp_W": device.tdp and as_figure(device.tdp),
    }
    assert stated == {field: row.get(field) for field in stated}
    times = {kind: 2 if device.sparse and kind in SPARSE else 1 for kind in row["peaks_TFLOP/s"]}
    known = {k: Fraction(v) * times[k] for k, v in row["peaks_TFLOP/s"].items() if k in (*DTYPE_NAMES, VECTOR)}
    assert peaks(device) == known


def test_every_row_is_shipped() -> None:
    assert set(TABLE) == {name for name in NAMES if not name.endswith("-sparse")}


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


CARD = """device card "A card of 1 GB" {{
    memory = 1 GB  bandwidth = 1 TB/s  peak bf16 = 1 TFLOP/s  link = {link}  tdp = {tdp}
}}
"""


def test_link_and_power_are_fields_of_a_device(tmp_path: Path) -> None:
    path = tmp_path / "card.arch"
    path.write_text(CARD.format(link="900 GB/s", tdp="700 W"), encoding="utf-8")
    device = find_device(str(path))
    assert (device.link, device.tdp) == (900 * 10**9, 700)
    two = device.times(2)
    assert (two.link, two.tdp) == (900 * 10**9, 1400)
    path.write_text(CARD.format(link="900 GB", tdp="700 W/s"), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        find_device(str(path))
    assert [d.message for d in caught.value.diagnostics] == [
        "`link` is in bytes a second, and this is in bytes",
        "there is no unit `W/s`",
    ]


def test_a_condition_may_ask_for_link_and_power() -> None:
    setting = Setting(device=shipped_device("h100-sxm"))
    compiled = compile_spec("llama-3.1:8b")
    for text in ("device.link == 900 GB/s", "device.tdp == 700 W"):
        condition = parse_condition(Source("<condition>", text))
        assert evaluate(compiled, condition, setting).holds
