DROP FUNCTION optimization_create_run;
DROP FUNCTION optimization_add_samples;
DROP FUNCTION optimization_add_iterations;
DROP FUNCTION optimization_act_for;
