"""How the loops of this package are compiled: once, kept on disk, without the GIL.

They allocate nothing, so numba's counting of references is switched off: it takes more than nine tenths of the time
of a loop over small handlers that pass arrays on. `inlined` is for the handlers that most bytes meet. The
copy on disk is renewed when a loop's own file changes, not when one that it calls does: then delete `__pycache__`.
"""

from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

_njit: Any = numba.njit
compiled: Final[Any] = _njit(cache=True, nogil=True, _nrt=False)
inlined: Final[Any] = _njit(cache=True, nogil=True, _nrt=False, forceinline=True)


def frozen(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """A view that cannot be written to, so that a loop is compiled for one kind of array."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view
