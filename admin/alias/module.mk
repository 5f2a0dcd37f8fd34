ALIAS_EDIT := alias_edit.c deliver/resolve/aliases.c
$(call program,postern-alias,alias_main.c $(ALIAS_EDIT) admin/maps/postmap_build.c,map conf os log base)
$(call unittest,test_alias_edit,test_alias_edit.c $(ALIAS_EDIT),map os log base test)
$(call fuzzer,fuzz_alias_edit,fuzz_alias_edit.c $(ALIAS_EDIT),map os log base)
