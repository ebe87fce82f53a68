"""Wiring: a configuration becomes a running node. The only room that knows every other.

serving    signals, sockets, the end
node       the store, the channels, the loops and the doors of one node
actions    what the doors may ask for
layers     the deployment's wishes under everybody's document
routes     a channel for every route
offline    what the command line does to a database nobody serves
demo       the node with two people and recorded reports: cast, story, restamp, stage, caller
"""

from __future__ import annotations

from notifier.app.demo import demo
from notifier.app.offline import backup, purge
from notifier.app.serving import serve

__all__ = ["backup", "demo", "purge", "serve"]
