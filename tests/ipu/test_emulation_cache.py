"""The emulated executable cache has one file for each graph."""

from pathlib import Path
from typing import Dict, List

import poptorch
import pytest
import small_networks as networks


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "executables"
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "4")
    monkeypatch.setenv("POPTORCH_CACHE_DIR", str(folder))
    return folder


def compiled(rows: int = 3, accumulation: int = 3) -> bool:
    """Compile the same network in new executors; return whether the executable came from the cache."""
    model = networks.training(accumulation=accumulation)
    model.compile(networks.rows(rows))
    model.destroy()
    return model.loaded_from_cache


def files(folder: Path) -> List[Path]:
    return sorted(folder.iterdir())


def test_a_second_compilation_of_a_shape_loads_the_first(cache: Path) -> None:
    assert not compiled()
    first = files(cache)
    assert compiled()
    assert files(cache) == first
    assert [file.suffix for file in first] == [".popef"]


@pytest.mark.parametrize("shape", [{"rows": 6}, {"rows": 4, "accumulation": 4}])
def test_another_shape_is_another_executable(cache: Path, shape: Dict[str, int]) -> None:
    compiled()
    assert not compiled(**shape)
    assert len(files(cache)) == 2


def test_options_name_another_folder(cache: Path, tmp_path: Path) -> None:
    network = networks.Chain()
    options = networks.options()
    options.enableExecutableCaching(str(tmp_path / "named"))
    poptorch.trainingModel(network, options, poptorch.optim.SGD(network.parameters(), lr=1.0)).compile(networks.rows(3))
    assert files(tmp_path / "named")
    assert not cache.exists()


def test_an_offline_compilation_fills_the_cache_without_an_ipu(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_AVAILABLE_IPU", "0")
    network = networks.Chain()
    options = networks.options().useOfflineIpuTarget()
    poptorch.trainingModel(network, options, poptorch.optim.SGD(network.parameters(), lr=1.0)).compile(networks.rows(3))
    assert files(cache)


def test_a_folder_that_takes_no_file_ends_the_compilation_and_gives_the_ipus_back(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    kept = []  # an error that is kept keeps what it passed through
    for _ in range(3):  # IPUs that were not given back would be missing by the third
        with pytest.raises(poptorch.Error, match="Cannot write the executable cache") as refused:
            compiled()
        kept.append(refused.value)
