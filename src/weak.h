/* SPDX-License-Identifier: MIT
 *
 * While rooms are still empty, the program links without them. Goes when the last public function
 * is there.
 */
#pragma weak llem_config_errors
#pragma weak llem_config_free
#pragma weak llem_config_get
#pragma weak llem_config_hash_hex
#pragma weak llem_config_json
#pragma weak llem_config_load
#pragma weak llem_config_origin
#pragma weak llem_config_schema
#pragma weak llem_describe_machine
#pragma weak llem_experiment_main
#pragma weak llem_job_cancel
#pragma weak llem_job_dir
#pragma weak llem_job_free
#pragma weak llem_job_result
#pragma weak llem_job_start
#pragma weak llem_job_wait
#pragma weak llem_measure
#pragma weak llem_reason_hint
#pragma weak llem_reason_sentence
#pragma weak llem_result_bool
#pragma weak llem_result_count
#pragma weak llem_result_dir
#pragma weak llem_result_double
#pragma weak llem_result_int
#pragma weak llem_result_json
#pragma weak llem_result_quantity
#pragma weak llem_result_string
#pragma weak llem_run_experiment
#pragma weak llem_verify
