"""A provider that behaves as told: OpenAI's dialect over loopback HTTP, with limits, latencies and faults."""

from apikeyrouter.interfaces.scripted_provider.behaviour import (
    ANY_KEY,
    Fault,
    FaultKind,
    KeyScript,
    Script,
    ScriptedModel,
    parse_script,
    read_script,
)
from apikeyrouter.interfaces.scripted_provider.ledger import BillLine, Call, KeyTally, LedgerView
from apikeyrouter.interfaces.scripted_provider.serve import ScriptedProvider
from apikeyrouter.interfaces.scripted_provider.threaded import ThreadedProvider

__all__ = [
    "ANY_KEY",
    "BillLine",
    "Call",
    "Fault",
    "FaultKind",
    "KeyScript",
    "KeyTally",
    "LedgerView",
    "Script",
    "ScriptedModel",
    "ScriptedProvider",
    "ThreadedProvider",
    "parse_script",
    "read_script",
]
