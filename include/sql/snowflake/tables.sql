-- The three event tables that the optimizer reads, as the warehouse team keeps them: one row an event, times in UTC.
-- The optimizer needs SELECT on them and nothing else.
CREATE TABLE IF NOT EXISTS BIDS (
    bid_id               VARCHAR        NOT NULL,  -- one auction; VIEWS and CLICKS refer to it
    bid_ts               TIMESTAMP_NTZ  NOT NULL,
    object_id            INTEGER        NOT NULL,  -- opt_entities.object_id, the SSP client
    run_id               VARCHAR,                  -- optimizer run that priced the bid; NULL before there was one
    internal_adspace_id  VARCHAR,
    geo_region_name      VARCHAR,
    os_code              VARCHAR,
    browser_code         VARCHAR,
    device_type          VARCHAR,
    domain               VARCHAR,
    npi                  VARCHAR,                  -- identified professional; NULL for all other visitors
    bid_cpm              FLOAT          NOT NULL,  -- final bid, multipliers included
    base_bid_cpm         FLOAT,                    -- what the final bid was made of
    domain_multiplier    FLOAT,
    npi_multiplier       FLOAT,
    floor_cpm            FLOAT,                    -- NULL where the SSP passes none
    privacy              VARCHAR,                  -- signals that restricted the price (lmt,gpp); NULL without any. Optional
    is_test              BOOLEAN                   -- a test auction; NULL or FALSE otherwise. Optional column
);

-- A won and shown impression.
CREATE TABLE IF NOT EXISTS VIEWS (
    bid_id    VARCHAR        NOT NULL,
    view_ts   TIMESTAMP_NTZ  NOT NULL,
    cost_cpm  FLOAT          NOT NULL,  -- cleared price
    revenue   FLOAT          NOT NULL   -- currency units for this impression; 0 for click-paid campaigns
);

CREATE TABLE IF NOT EXISTS CLICKS (
    bid_id    VARCHAR        NOT NULL,
    click_ts  TIMESTAMP_NTZ  NOT NULL,
    revenue   FLOAT          NOT NULL   -- currency units for this click
);
