from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from servers.memcached import memcached

from optimizer.core.serving.keys import segment_key

__all__ = ["memcached"]

VALUES = st.lists(st.one_of(st.none(), st.text(max_size=8)), min_size=1, max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=VALUES, bid=st.decimals("0.01", "999.99", places=2))
def test_a_bid_is_found_again_under_its_key_for_any_values(memcached, values, bid):
    key = segment_key([value.encode("utf-8", "ignore").decode() if value else None for value in values])
    if len(key) <= 250:
        assert memcached.set(key, str(bid)) is True
        assert memcached.get(key) == str(bid).encode()
