{# The id of a row of a batch: random in all but the last eight digits, which count. A thousand random ids would cost as much
   as the rows' JSON; a sub-select is evaluated once, a row of FROM may be once for each row that it is joined with. #}
((SELECT left(gen_random_uuid()::text, 28)) || to_hex(268435456 + given.ordinality))::uuid{# 268435456 is 16^7: eight digits #}