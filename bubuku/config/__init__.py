"""The configuration: one YAML file, the environment over it, validated before anything else happens."""

from bubuku.config.checking import check, check_addresses
from bubuku.config.loading import load
from bubuku.config.model import Config

__all__ = ["Config", "check", "check_addresses", "load"]
