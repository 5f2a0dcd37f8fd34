RESTRICT := $(addprefix $(D)/,restrict.c restrict_rules.c restrict_names.c restrict_reply.c restrict_access.c access.c) deliver/policy/dial_text.c deliver/policy/policy_settings.c
$(call unittest,test_restrict,test_restrict.c $(RESTRICT),smtp mail conf dns ipc io os log base test)
$(call fuzzer,fuzz_access,fuzz_access.c $(RESTRICT),smtp mail conf dns os log base)
