"""What lets zope.interface find quickly what an abstract class's objects provide."""

from __future__ import annotations

from abc import ABC

from zope.interface.declarations import ObjectSpecificationDescriptor


class AbstractProvider(ABC):
    """For abstract classes whose objects are asked for optional interfaces.

    A class gets this descriptor from zope.interface unless its metaclass has it, as ABCMeta has;
    without it, each ``providedBy`` raises and handles an exception.
    """

    __providedBy__ = ObjectSpecificationDescriptor()
