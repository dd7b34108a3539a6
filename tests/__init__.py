"""The tests; their floors are those of the product, and what several of them share is in `tests.support`."""

import pytest

pytest.register_assert_rewrite("tests.support")
