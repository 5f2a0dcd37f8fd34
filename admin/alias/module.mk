ALIAS_EDIT := alias_edit.c deliver/resolve/aliases.c
$(call program,postern-alias,alias_main.c alias_leads.c alias_edit.c $(RESOLVE_WHY) admin/maps/postmap_build.c,smtp map mail conf os log base)
$(call unittest,test_alias_edit,test_alias_edit.c $(ALIAS_EDIT),map os log base test)
$(call fuzzer,fuzz_alias_edit,fuzz_alias_edit.c $(ALIAS_EDIT),map os log base)
