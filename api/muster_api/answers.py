"""What the extender answers to pods whose time has not come: kube-scheduler writes it into their conditions.

The controller reads it there and must not take it for a refusal of the place. Constant to the byte: kube-scheduler
wakes a rejected pod again whenever its message changes.
"""

from __future__ import annotations

from typing import Final

NOT_RELEASED: Final = "waiting for Muster to release this pod"
SUPERSEDED: Final = "the release ticket is of an earlier epoch; waiting for the next one"
GANG_OVER: Final = "the gang of the release ticket is not being released any more"

IN_TRANSIT: Final = (NOT_RELEASED, SUPERSEDED, GANG_OVER)
"""They only say that a pod's time has not come, or that kube-scheduler has not looked again since."""
