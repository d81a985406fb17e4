"""Packaging of bubuku. `make` builds its own `.venv` from this file; tools are configured in `pyproject.toml`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def version() -> str:
    text = (HERE / "bubuku" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("bubuku/__init__.py has no __version__")
    return found.group(1)


def readme() -> str:
    path = HERE / "README.md"
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="bubuku",
    version=version(),
    description="One daemon beside every Kafka broker: starts, watches, restarts, upgrades and heals it",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="MIT",
    author="bubuku contributors",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["bubuku", "bubuku.*"]),
    package_data={
        "bubuku": ["py.typed"],
        "bubuku.adapters.kafka": ["*.json"],
        "bubuku.sandbox": ["pom.xml"],
        "bubuku.http": ["static/*", "static/**/*"],
    },
    install_requires=[
        "PyYAML>=6,<7",
        "boto3>=1.34,<2",
        "click>=8.1,<9",
        "kafka-python>=3.0.12,<4",
        "kazoo>=2.10,<3",
        "prometheus-client>=0.20,<1",
        "psutil>=5.9,<8",
        "pure-sasl>=0.6.2,<1",  # kazoo's SASL (DIGEST-MD5) needs it
        "pydantic>=2.6,<3",
        "requests>=2.31,<3",
        "rich>=13,<16",
        "starlette>=0.37,<2",
        "uvicorn>=0.27,<1",
    ],
    extras_require={
        "test": [
            "cryptography>=42,<60",  # certificates for the tests with TLS
            "httpx>=0.27,<1",
            "hypothesis>=6.100,<7",
            "import-linter>=2.1,<3",
            "mypy>=1.11,<3",
            "pytest>=8,<10",
            "pytest-timeout>=2.3,<3",
            "pytest-xdist>=3.6,<4",
            "ruff>=0.9,<1",
            "types-PyYAML",
            "types-psutil",
            "types-requests",
        ],
    },
    entry_points={
        "console_scripts": [
            "bubuku-cli = bubuku.cli.main:main",
            "bubuku-daemon = bubuku.daemon:main",
        ],
    },
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
