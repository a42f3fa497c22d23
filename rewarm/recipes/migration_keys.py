"""Keys of LLaMA-Factory and axolotl that need no translation, and keys that have no counterpart: for each, why.

Both were read off the programs' own argument classes. A key in neither table that no translation takes is unknown, and
is listed as such.
"""

from __future__ import annotations

from collections.abc import Mapping

LLAMA_FACTORY, AXOLOTL = "LLaMA-Factory", "axolotl"

_LOGGING = "reports and journals are always written, to the run's folder alone"
_SPEED = "how it is computed, not what: chosen here by the machine"
_LOADING = "how text is read: text is prepared once, into shards"
_RESUMING = "the same command goes on from the newest checkpoint"
_SHARDS = "how processes are started and divided: torchrun, and sharding (docs/scale.md)"
_TRUST = "code of a model's own is never run here"
_ASKING = "of asking or exporting a model, not of training it"
_OFF = "of something that only other keys turn on"

_BOTH_IDLE: Mapping[str, str] = {
    "logging_steps logging_strategy logging_dir logging_first_step report_to run_name use_wandb disable_tqdm log_level "
    "include_num_input_tokens_seen include_tokens_per_second": _LOGGING,
    "dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor dataloader_drop_last "
    "remove_unused_columns streaming dataloader_persistent_workers group_by_length": _LOADING,
    "resume_from_checkpoint save_only_model save_strategy save_safetensors overwrite_output_dir": _RESUMING,
    "ddp_timeout ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers local_rank device_map "
    "low_cpu_mem_usage accelerator_config": _SHARDS,
    "trust_remote_code": _TRUST,
    "tf32 torch_compile_backend torch_compile_mode gradient_checkpointing_kwargs auto_find_batch_size "
    "torch_empty_cache_steps": _SPEED,
    "eval_batch_size per_device_eval_batch_size eval_accumulation_steps do_eval prediction_loss_only "
    "bf16_full_eval": "what is watched is scored in batches that fit",
    "push_to_hub hub_model_id hub_strategy hub_token hub_revision": "nothing is sent anywhere",
    "data_seed": "one seed orders the text and draws the weights",
}  # fmt: skip
_LLAMA_IDLE: Mapping[str, str] = {
    "plot_loss include_effective_tokens_per_second print_param_status use_swanlab swanlab_project swanlab_workspace "
    "swanlab_run_name swanlab_mode swanlab_api_key swanlab_logdir swanlab_lark_webhook_url swanlab_lark_secret "
    "enable_torch_profiler profiler_output_dir": _LOGGING,
    "overwrite_cache preprocessing_num_workers preprocessing_batch_size buffer_size cache_dir tokenized_path media_dir "
    "data_shared_file_system use_fast_tokenizer split_special_tokens": _LOADING,
    "flash_attn use_unsloth use_unsloth_gc enable_liger_kernel use_reentrant_gc use_cache use_kv_cache": _SPEED,
    "ray_num_workers ray_init_kwargs master_addr master_port ray_run_name ray_storage_path": _SHARDS,
    "do_predict predict_with_generate infer_backend infer_dtype export_dir export_size export_device "
    "export_legacy_format export_hub_model_id eval_num_beams max_new_tokens top_p top_k temperature "
    "compute_accuracy": _ASKING,
    "do_train ignore_pad_token_for_loss": "always so",
    "quantization_method quantization_type double_quantization quantization_device_map freeze_trainable_layers "
    "freeze_trainable_modules freeze_extra_modules galore_target galore_rank galore_update_interval galore_scale "
    "galore_proj_type galore_layerwise apollo_target apollo_rank apollo_update_interval apollo_scale apollo_proj "
    "apollo_proj_type apollo_scale_type apollo_layerwise apollo_scale_front badam_mode badam_start_block "
    "badam_switch_mode badam_switch_interval badam_update_ratio badam_mask_mode badam_verbose pissa_iter pissa_convert "
    "loraplus_lr_embedding oft_rank oft_block_size oft_target module_dropout asft_alpha eaft_alpha simpo_gamma "
    "kto_chosen_weight kto_rejected_weight create_new_adapter tool_format": _OFF,
    "freeze_vision_tower freeze_multi_modal_projector image_max_pixels image_min_pixels video_max_pixels "
    "video_min_pixels video_fps video_maxlen": "text alone is trained on",
    "hf_hub_token ms_hub_token om_hub_token": "secrets are read from the environment by the hub's own library",
}  # fmt: skip
_AXOLOTL_IDLE: Mapping[str, str] = {
    "wandb_project wandb_entity wandb_watch wandb_name wandb_log_model wandb_mode wandb_run_id use_mlflow "
    "mlflow_tracking_uri mlflow_experiment_name mlflow_run_name use_comet comet_project_name comet_workspace "
    "comet_mode use_tensorboard include_tkps profiler_steps profiler_steps_start trackio_project_name trackio_run_name "
    "trackio_space_id eval_table_size eval_max_new_tokens debug strict": _LOGGING,
    "dataset_prepared_path dataset_processes dataset_num_proc dataset_keep_in_memory dataset_shard_num "
    "dataset_shard_idx num_dataset_shards_to_save push_dataset_to_hub hf_use_auth_token "
    "skip_prepare_dataset shuffle_merged_datasets shuffle_before_merging_datasets "
    "streaming_multipack_buffer_size pretrain_multipack_buffer_size "
    "sample_packing_group_size sample_packing_bin_size sample_packing_sequentially sample_packing_eff_est "
    "pad_to_sequence_len pad_to_multiple_of eval_sample_packing multipack_real_batches total_num_tokens "
    "tokenizer_use_fast tokenizer_legacy tokenizer_save_jinja_files": _LOADING,
    "auto_resume_from_checkpoints save_first_step saves_per_epoch": _RESUMING,
    "flash_attention sdp_attention xformers_attention flex_attention eager_attention sage_attention "
    "attn_implementation flash_attn_cross_entropy flash_attn_rms_norm flash_attn_fuse_mlp "
    "lora_mlp_kernel lora_qkv_kernel lora_o_kernel "
    "lora_embedding_kernel chunked_cross_entropy cut_cross_entropy liger_rope liger_rms_norm liger_glu_activation "
    "liger_layer_norm liger_fused_linear_cross_entropy activation_offloading layer_offloading gc_steps "
    "gc_collect_steps use_kernels tiled_mlp": _SPEED,
    "fsdp_version fsdp_final_state_dict_type max_memory gpu_memory_limit lora_on_cpu ddp device world_size": _SHARDS,
    "model_type tokenizer_type processor_type is_llama_derived_model is_mistral_derived_model is_falcon_derived_model "
    "is_qwen_derived_model": "read off the base's own configuration",
    "evals_per_epoch": "eval_every is chosen here; set it in tokens for another",
    "lora_model_dir merge_lora": "the adapter is merged into the model that is saved",
    "do_bench_eval bench_dataset generate_samples num_generation_samples generation_max_new_tokens": _ASKING,
    "loss_watchdog_threshold loss_watchdog_patience": "spikes: skip or stop is the plan's own guard",
    "bnb_config_kwargs lora_fan_in_fan_out": _OFF,
}  # fmt: skip

_NO_COUNTERPART = "it changes what is learned, and has no counterpart here"
_QUANTISED = "the base is trained on in its own precision here, which needs more memory"
_BOTH_DIFFERS: Mapping[str, str] = {
    "neftune_noise_alpha loraplus_lr_ratio label_smoothing_factor rope_scaling embedding_lr lr_groups": _NO_COUNTERPART,
    "early_stopping_patience early_stopping_steps load_best_model_at_end metric_for_best_model greater_is_better": (
        "a stage is trained to its end here; rewarm merge looks between base and end"
    ),
    "fp8": "there is no training in 8-bit floats here",
}
_LLAMA_DIFFERS: Mapping[str, str] = {
    "use_dora pissa_init use_galore use_apollo use_badam use_adam_mini use_muon use_dft_loss use_asft_loss "
    "use_eaft_loss use_llama_pro mixture_of_depths shift_attn mask_history default_system enable_thinking "
    "preserve_thinking disable_shuffling moe_aux_loss_coef upcast_layernorm pref_bco_weight ld_alpha ref_model "
    "ref_model_adapters train_from_scratch freeze_language_model interleave_probs": _NO_COUNTERPART,
    "quantization_bit": _QUANTISED,
    "adapter_name_or_path": "merge the adapter into the base first; a plan starts from a whole model",
    "add_tokens add_special_tokens resize_vocab new_special_tokens_config": "rewarm add-tokens does this beforehand",
    "use_mca use_megatron_bridge use_kt use_hyper_parallel": "there is no such backend here",
}
_AXOLOTL_DIFFERS: Mapping[str, str] = {
    "peft_use_dora peft_init_lora_weights lora_modules_to_save lora_target_parameters peft_layers_to_transform "
    "lora_rank_pattern lora_alpha_pattern relora relora_prune_ratio unfrozen_parameters lr_quadratic_warmup "
    "cosine_constant_lr_ratio optim_args optim_target_modules curriculum_sampling use_pose max_prompt_len "
    "min_sample_len excess_length_strategy reinit_weights noisy_embedding_alpha default_system_message eot_tokens "
    "chat_template_jinja roles_to_train train_on_eos dpo_use_weighting dpo_norm_loss rpo_alpha "
    "jagged_restart_steps use_eaft diffusion eval_sequence_len max_packed_sequence_len": _NO_COUNTERPART,
    "load_in_8bit load_in_4bit gptq": _QUANTISED,
    "special_tokens tokens added_tokens_overrides resize_token_embeddings_to_32x": (
        "rewarm add-tokens does this beforehand; the tokenizer stays the base's own"
    ),
    "tokenizer_config base_model_config": "the base's own is used; put it into the base's folder",
    "dataset_exact_deduplication": "copies are left out by the plan's clean: {near_duplicates: 1.0}",
    "plugins": "no code but the package's own is run",
    "context_parallel_size sequence_parallel_degree tensor_parallel_size dp_shard_size dp_replicate_size": (
        "processes share the data, and with sharding: full the model (docs/scale.md)"
    ),
    "qat quantization vllm trl ebft reward_model process_reward_model num_labels": "there is no such training here",
}


def _spread(*tables: Mapping[str, str]) -> dict[str, str]:
    return {key: why for table in tables for keys, why in table.items() for key in keys.split()}


IDLE = {LLAMA_FACTORY: _spread(_BOTH_IDLE, _LLAMA_IDLE), AXOLOTL: _spread(_BOTH_IDLE, _AXOLOTL_IDLE)}
"""For each program, the keys that need no translation, with the reason."""
DIFFERS = {LLAMA_FACTORY: _spread(_BOTH_DIFFERS, _LLAMA_DIFFERS), AXOLOTL: _spread(_BOTH_DIFFERS, _AXOLOTL_DIFFERS)}
"""For each program, the keys that change what is learned and have no counterpart, with the reason."""
