{# The id of a row of a batch: random in all but the last eight digits, which count. A thousand random ids would cost as much
   as the rows' JSON, and an index page each. #}
overlay({{ batch_id }} PLACING lpad(to_hex(given.ordinality), 8, '0') FROM 29)::uuid