POSTMAP := postmap.c postmap_build.c deliver/resolve/aliases.c
$(foreach name,postmap postalias newaliases,$(call program,$(name),$(POSTMAP),map conf os log base))
