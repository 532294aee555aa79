"""How the host gets Python packages: from which index, through which proxy, with which trusted authorities."""

import configparser
from collections.abc import Mapping
from pathlib import Path

HANDED_ON = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
AUTHORITIES_IN_BUILD = "/run/secrets/ca-bundle"
DEBIAN_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def certificate_authorities(environment: Mapping[str, str]) -> Path | None:
    """Return the file of certificate authorities that the host's own tools trust, if there is one."""
    named = [environment.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    return next((Path(name) for name in (*named, DEBIAN_AUTHORITIES) if name and Path(name).is_file()), None)


def pip_configuration(environment: Mapping[str, str], authorities: Path | None) -> str:
    """Return a pip.conf with what the host's files and PIP_* variables say about the network."""
    settings = from_files(environment) | from_variables(environment)
    lines = [f"{name} = {value}" for name, value in settings.items() if name in HANDED_ON]
    trusted = [f"cert = {AUTHORITIES_IN_BUILD}"] if authorities else []
    return "\n".join(["[global]", *lines, *trusted, ""])


def from_files(environment: Mapping[str, str]) -> dict[str, str]:
    home = Path(environment.get("HOME", "/root"))
    places = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    parser = configparser.RawConfigParser()
    parser.read([*places, environment.get("PIP_CONFIG_FILE", "")])
    sections = [parser[name] for name in ("global", "install") if name in parser]
    return {name: value for section in sections for name, value in section.items()}


def from_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings from PIP_* variables. PIP_INDEX_URL becomes index-url."""
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environment.items()
        if name.startswith("PIP_")
    }
