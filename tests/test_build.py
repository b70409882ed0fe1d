"""Installing with a compiler and without one; the native code and PyTorch share one pool of threads."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

BUILD = """
import sys
sys.path.insert(0, "tools")
import build_backend
print(build_backend.build_wheel("wheels"))
"""

OPENMP = """
{imports}
from pathlib import Path
import torch
from drawnet.models.draw import Draw, DrawConfig

model = Draw(DrawConfig(height=6, width=6, num_glimpses=2, hidden_size=8, latent_size=3))
model.engine = "float32"
model.nll(torch.rand(8, 1, 6, 6)).nats.sum().backward()
torch.randn(300, 300) @ torch.randn(300, 300)
files = {{line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}}
print(*(file for file in files if any(name in file for name in ("libgomp", "libiomp", "libomp"))))
"""


def build(project: Path, **environment: str) -> subprocess.CompletedProcess:
    """Build a wheel of the package's outline with a compiler that is not there."""
    for file in ("pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "tools/build_backend.py"):
        (project / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, project / file)
    for file in ("src/drawnet/__init__.py", "src/drawnet/data/mnist/LICENSE.md"):
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, project / file)
    return subprocess.run(
        [sys.executable, "-c", BUILD],
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("SKBUILD")},
            "CXX": str(project / "no-compiler"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def backend() -> None:
    pytest.importorskip("scikit_build_core")


@pytest.mark.usefixtures("backend")
def test_without_a_compiler_the_package_is_pure_python(tmp_path: Path) -> None:
    result = build(tmp_path)
    assert result.returncode == 0, result.stderr
    assert "No native code" in result.stdout
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert wheel.name.endswith("-py3-none-any.whl")
    assert "drawnet/__init__.py" in ZipFile(wheel).namelist()


@pytest.mark.usefixtures("backend")
def test_who_insists_on_native_code_hears_why_there_is_none(tmp_path: Path) -> None:
    result = build(tmp_path, SKBUILD_WHEEL_CMAKE="true")
    assert result.returncode != 0
    assert "no-compiler" in result.stderr + result.stdout


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("first", ["torch", "drawnet.engine._native"])
def test_the_native_code_and_pytorch_share_one_openmp(first: str) -> None:
    """Two OpenMP libraries in a process are two pools of threads that fight for the same cores."""
    if importlib.util.find_spec("drawnet.engine._native") is None:
        pytest.skip("the native code is not built here")
    script = OPENMP.format(imports=f"import {first}\nimport drawnet.engine._native")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 1, result.stdout
