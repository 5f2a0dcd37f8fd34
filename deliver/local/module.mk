PROGRAMS_RUN := $(addprefix $(D)/,deliver_plan.c deliver_program.c forward.c) deliver/resolve/aliases.c
DELIVER_STATIC := $(if $(filter asan tsan fuzz,$(BUILD)),,-static-pie)
$(call program,deliver,deliver.c deliver_user.c $(PROGRAMS_RUN) deliver_quota.c,store mail map ipc io os log base,$(DELIVER_STATIC))
$(call program,spawn,spawn_main.c spawn.c,conf ipc io os log base)
$(call unittest,test_programs,test_programs.c $(PROGRAMS_RUN),store mail map ipc io os log base test)
$(call fuzzer,fuzz_forward,fuzz_forward.c forward.c deliver/resolve/aliases.c,base)
