"""Why a server does not accept mail: each step of a connection, examined separately.

`diagnose` yields a `Step` each; the commands ``mailbackends doctor``, ``manage.py
mail_doctor`` and ``flask mail doctor`` print them.
"""

from mailbackends.doctor.diagnosis import diagnose
from mailbackends.doctor.step import Segment, Step, describe

__all__ = ["Segment", "Step", "describe", "diagnose"]
