"""The log file. See `qnb.store.log.log`; nothing else of this package is for others."""

from qnb.store.log.log import Log

__all__ = ["Log"]
