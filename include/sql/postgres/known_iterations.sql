-- Which of some numbers are iterations of a run.
-- Grain: one row an iteration. Parameters: run_id, numbers.
SELECT iteration, id FROM optimization_iterations WHERE run_id = %(run_id)s AND iteration = ANY (%(numbers)s)
