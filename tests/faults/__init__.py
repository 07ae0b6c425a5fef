"""Bad input, damage, kills: the thirty faults of the test matrix, and the tests that hold each.

E: exit status 1, one line, old outputs untouched. R: a row of ``rejects.csv``. `make kills` and
`make fuzz` are the long runs; tests/faults/test_matrix.py holds this table to the tests.

 1 truncated audio, R: tests/audio/test_containers.py::test_no_cut_passes_for_a_whole_file
 2 empty, header alone, no audio, R: tests/audio/test_containers.py::test_what_is_no_audio
   tests/audio/test_containers.py::test_a_header_without_samples_is_empty
 3 NaN, infinity, R: tests/audio/test_decoding.py::test_a_single_bad_number_rejects_the_file
 4 stereo, other rates and codecs: tests/audio/test_decoding.py::test_every_container_keeps_length_and_pitch
   tests/audio/test_decoding.py::test_channels_are_averaged
 5 silence, DC, R: tests/audio/test_decoding.py::test_what_holds_no_speech_is_rejected
 6 10 ms, R: tests/audio/test_decoding.py::test_what_holds_no_speech_is_rejected
   tests/audio/test_decoding.py::test_one_frame_of_quiet_speech_passes
 7 2 hours, R: tests/faults/test_preprocess_faults.py::test_two_hours_of_audio_are_rejected_in_little_memory
   tests/audio/test_containers.py::test_two_hours_are_too_long_from_the_header_alone
   tests/faults/test_hostile.py::test_hours_in_a_few_bytes_are_rejected_before_decoding
 8 unusual names: tests/corpora/test_parsers.py::test_unusual_names_are_ids_like_any_other
   tests/corpora/test_parsers.py::test_names_that_differ_in_unicode_form_alone_collide
   tests/corpora/preparing/test_workers.py::test_unusual_names_make_harmless_paths
 9 the same audio across splits, E: tests/splits/test_folds.py::test_planted_leaks_are_found
   tests/stages/test_split.py::test_equal_audio_in_two_corpora_is_refused_across_roles
10 a speaker in two splits, or unknown, E: tests/splits/test_partition.py::test_an_unknown_group_is_an_error
   tests/stages/test_split.py::test_a_given_split_that_shares_a_speaker_is_refused_and_nothing_is_written
11 no label, R: tests/corpora/test_parsers.py::test_rows_without_label_or_file_are_rejects
12 unknown emotion code, E: tests/corpora/test_parsers.py::test_an_unknown_emotion_code_stops_and_lists_the_known
13 a class without training clips, E: tests/faults/test_oddities.py::test_settings_that_make_no_sense_are_one_line
14 links, R or E: tests/corpora/test_parsers.py::test_links_that_loop_or_dangle_are_rejects
   tests/corpora/test_parsers.py::test_a_link_out_of_the_corpus_stops
15 malformed CSV, E: tests/corpora/test_parsers.py::test_a_malformed_table_names_its_line
   tests/splits/test_partition.py::test_a_malformed_list_names_its_line
   tests/faults/test_hostile.py::test_a_manifest_that_leaves_its_folder_is_refused
   tests/faults/test_oddities.py::test_what_never_ends_is_not_read
16 SIGKILL: tests/faults/test_kills.py::test_a_killed_stage_leaves_nothing_half_done_and_runs_again
   tests/faults/test_preprocess_faults.py::test_a_killed_run_resumes_to_the_same_bytes
   tests/training/test_epoch.py::test_a_run_killed_at_a_step_resumes_to_the_same_bytes
   tests/faults/test_scratch.py::test_a_folder_that_was_half_deleted_is_not_resumed_from
17 Ctrl-C, SIGTERM: tests/faults/test_limits.py::test_a_signal_is_one_line_and_its_status
   tests/faults/test_preprocess_faults.py::test_a_signal_ends_it_and_its_workers_in_one_line
   tests/work/test_pool.py::test_a_signal_at_any_moment_is_one_line_and_its_status
   tests/ground/test_ending.py::test_a_signal_ends_the_process_wherever_it_comes
18 a full disk, E: tests/faults/test_limits.py::test_a_full_disk_is_one_line
   tests/faults/test_limits.py::test_a_failed_write_of_hdf5_does_not_crash_the_process
19 bit flips, E: tests/faults/test_flips.py::test_no_flipped_bit_changes_what_is_read
   tests/faults/test_flips.py::test_the_stage_stops_at_a_damaged_input
   tests/faults/test_scratch.py::test_a_flipped_bit_in_unfinished_work_changes_no_result
   tests/faults/test_scratch.py::test_no_flipped_bit_of_a_checkpoint_passes
20 pickles, E: tests/faults/test_hostile.py::test_a_pickle_in_place_of_an_artefact_is_not_run
   tests/faults/test_hostile.py::test_only_the_encoder_stage_unpickles_and_without_code
21 params.yaml, E: tests/faults/test_params.py::test_a_misspelt_key_is_named_with_its_neighbour
   tests/faults/test_params.py::test_a_missing_key_is_named
   tests/faults/test_params.py::test_a_duplicate_key_is_named
   tests/faults/test_params.py::test_a_wrong_type_is_named
   tests/faults/test_params.py::test_a_value_out_of_its_range_is_named
   tests/ground/test_params.py::test_yaml_1_2_numbers
22 pins, E: tests/encoders/test_hub.py::test_an_encoder_that_is_not_pinned_stops_before_anything_is_read
   tests/encoders/test_hub.py::test_another_checksum_stops_before_the_file_is_opened
   tests/encoders/test_hub.py::test_what_the_cache_lacks_is_named
   tests/faults/test_params.py::test_a_branch_is_no_revision
23 no memory on the device: tests/training/test_epoch.py::test_out_of_memory_halves_micro_batches_and_nothing_else
   tests/training/test_epoch.py::test_a_clip_that_does_not_fit_alone_is_named
24 a loss of NaN, E: tests/training/test_epoch.py::test_a_loss_that_is_not_finite_keeps_the_last_checkpoint
   tests/training/test_fit.py::test_a_loss_that_is_not_finite_names_step_and_clips
   tests/faults/test_oddities.py::test_settings_that_make_no_sense_are_one_line
25 more centroids than frames, E: tests/units/test_kmeans.py::test_too_few_frames_are_an_error_that_names_both_numbers
26 idle centroids, E: tests/units/test_tally.py::test_idle_centroids_are_refused
   tests/stages/test_cluster.py::test_frames_of_one_value_are_refused_and_the_old_units_stay
27 two runs at once, E: tests/faults/test_limits.py::test_a_second_run_beside_the_first_is_refused
   tests/faults/test_limits.py::test_a_killed_run_locks_no_one_out
   tests/faults/test_shared_scratch.py::test_two_projects_may_share_the_scratch_store
28 a stale input, E: tests/stages/test_cluster.py::test_units_of_other_frames_are_refused
   tests/embeddings/test_extraction.py::test_audio_that_is_not_the_manifests_is_refused
29 HDF5 that is not ours, E: tests/faults/test_hostile.py::test_hdf5_that_points_elsewhere_is_refused
30 other surroundings, the same bytes: tests/faults/test_environment.py::test_the_same_bytes_in_another_folder_and_locale_and_without_assertions
   tests/faults/test_limits.py::test_a_read_only_corpus_gives_the_same_bytes

Beyond the matrix. Memory: tests/faults/test_memory.py::test_memory_does_not_grow_with_the_corpus
tests/faults/test_preprocess_faults.py::test_memory_does_not_grow_with_the_corpus
Mutants: tests/faults/test_fuzz.py::test_no_mutant_is_a_traceback_or_a_hang
Archives: tests/faults/test_hostile.py::test_an_archive_in_a_corpus_is_never_opened
Permissions: tests/faults/test_limits.py::test_a_folder_without_write_permission_is_one_line
Floors: tests/faults/test_environment.py::test_no_version_with_a_known_hole_is_allowed_or_installed
Messages: tests/faults/test_errors.py::test_a_message_names_a_file_or_key_and_a_remedy
"""  # noqa: E501
