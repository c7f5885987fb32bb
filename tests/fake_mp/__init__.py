"""A stand-in for the Materials Project: its REST API and its density bucket, with faults on order.

``FakeMaterialsProject`` starts both as one process of its own and stops it; see `fake_mp.fake`.
"""

from fake_mp.fake import FakeMaterialsProject
from fake_mp.faults import Fault, plan_faults

__all__ = ["FakeMaterialsProject", "Fault", "plan_faults"]
